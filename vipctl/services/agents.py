"""Agents of real servers: how one is asked, and the words of HAProxy's protocol. Pure."""

import re
from enum import StrEnum
from typing import NamedTuple

from vipctl.errors import UsageError
from vipctl.services.checks import LONGEST, SHORTEST, span
from vipctl.services.syntax import number, seconds

EVERY = 2.0
MOST_PERCENT = 400  # of a weight; more counts as that
MOST_SENT, MOST_SAID = 200, 200  # characters
ESCAPES = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t", ",": ","}
PIECE = r"(?:[^,\\\n]|\\.)*"  # between commas
ALIASES = {"failed": "fail"}
FORM = "PORT[,every=SECONDS][,send=TEXT]|no"


class Agent(NamedTuple):
    """A port of the real server, at which something says how it is; `send` is sent to it first."""

    port: int
    every: float = EVERY
    send: str = ""

    @property
    def kind(self) -> str:
        return "agent"

    @property
    def timeout(self) -> float:
        """Seconds that an answer may take: as in HAProxy, until it would be asked again."""
        return self.every

    @property
    def name(self) -> str:
        """As it stands among checks."""
        return f"agent {self.port}"

    def __str__(self) -> str:
        every = f",every={span(self.every)}" if self.every != EVERY else ""
        return f"{self.port}{every}" + (f",send={_escaped(self.send)}" if self.send else "")


class Admin(StrEnum):
    """Whether it is to have clients."""

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"


class Running(StrEnum):
    """Whether it works."""

    UP = "up"
    DOWN = "down"
    FAIL = "fail"
    STOPPED = "stopped"


class Words(NamedTuple):
    """What an agent says at one time; what it does not say does not change.

    `why` is given for a server that is to have no clients; `unknown` is the first word
    that is none.
    """

    percent: int | None = None
    admin: Admin | None = None
    running: Running | None = None
    why: str = ""
    unknown: str = ""


class Heard(NamedTuple):
    """What came of asking once: words, or why there are none."""

    words: Words | None
    why: str = ""


def parse_agent(text: str) -> Agent | None:
    """PORT[,every=SECONDS][,send=TEXT], as `str` writes it; `no` is none. Raises UsageError."""
    if text == "no":
        return None
    if not re.fullmatch(rf"{PIECE}(?:,{PIECE})*", text):
        raise _unread(text, "a backslash stands before nothing")
    port, *words = re.findall(rf"(?:^|,)({PIECE})", text)
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key not in ("every", "send") or not (equals and value) or key in found:
            raise _unread(text, f"unexpected {word!r}")
        found[key] = value
    every = seconds(found.get("every", EVERY), SHORTEST, LONGEST)
    return Agent(number(port, "port", 1, 65535), every, _sent(text, found.get("send", "")))


def _sent(text: str, written: str) -> str:
    if not re.fullmatch(r"(?:[ -\[\]-~]|\\[\\nrt,])*", written):
        raise _unread(text, "send has letters of ASCII, and \\n \\r \\t \\, \\\\")
    found = re.sub(r"\\(.)", lambda escape: ESCAPES[escape[1]], written)
    if len(found) > MOST_SENT:
        raise _unread(text, f"send has {MOST_SENT} letters at most")
    return found


def _unread(text: str, why: str) -> UsageError:
    hint = f"write {FORM}; a comma in a text is written \\,"
    return UsageError(f"agent {text!r}: {why}", hint=hint)


def _escaped(sent: str) -> str:
    back = {letter: f"\\{key}" for key, letter in ESCAPES.items()}
    return "".join(back.get(letter, letter) for letter in sent)


def parse_words(said: bytes) -> Words:
    """The first line, as HAProxy reads it: of each kind of words the last one counts.

    Without an end of line it counts too, if the agent has closed the connection.
    """
    line = re.split(r"[\r\n\0]", said.decode(errors="replace"), maxsplit=1)[0]
    line, _, why = line.partition("#")
    found = Words(why=_printable(why))
    for word in re.findall(r"[^ \t,]+", line):
        found = _with(found, word.lower())
    return found if _is_bad(found) else found._replace(why="")


def _is_bad(words: Words) -> bool:
    return not {words.admin, words.running} <= {None, Admin.READY, Running.UP}


def _with(found: Words, word: str) -> Words:
    if number := re.fullmatch(r"([0-9]{1,9})%", word):
        return found._replace(percent=min(int(number[1]), MOST_PERCENT))
    if word in set(Admin):
        return found._replace(admin=Admin(word))
    if word in ALIASES or word in set(Running):
        return found._replace(running=Running(ALIASES.get(word, word)))
    if word.startswith("maxconn:"):  # a limit is what `upper` of a real server is for
        return found
    return found if found.unknown else found._replace(unknown=_printable(word))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:MOST_SAID]).strip()
