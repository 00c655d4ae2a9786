"""Health checks: what a real server is asked, how that is written, and what comes of it. Pure."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from vipctl.addresses.prefixes import IPAddress
from vipctl.errors import UsageError
from vipctl.services.syntax import number, seconds

EVERY, TIMEOUT, FALL, RISE = 2.0, 1.0, 3, 2
SHORTEST, LONGEST = 0.1, 86400.0
MOST_TIMES = 1000
MOST_BYTES = 1024  # of a datagram
RECORDS = ("A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT")
EVERY_STATUS = (100, 599)
PROTOCOLS = {"dns": "udp", "udp": "udp"}  # of kinds; of all others tcp


class Check(NamedTuple):
    """One question, and how often and how patiently it is asked. Times are in seconds.

    `what` is the path of http and https, the name that dns looks up, the program of exec. Port 0
    is the one that the real server gets traffic on. Each kind uses but some of the other fields.
    """

    kind: str
    what: str = ""
    port: int = 0
    status: tuple[int, int] = (200, 399)
    body: str = ""
    host: str = ""
    sni: str = ""
    verify: bool = True
    send: bytes = b""
    expect: bytes = b""
    record: str = "A"
    every: float = EVERY
    timeout: float = TIMEOUT
    fall: int = FALL
    rise: int = RISE

    @property
    def protocol(self) -> str:
        """The protocol whose ports it asks."""
        return PROTOCOLS.get(self.kind, "tcp")

    def __str__(self) -> str:
        return ",".join([_head(self), *_tail(self)])


class Target(NamedTuple):
    """Whom a check asks: hashable, so one answer serves all services that ask the same.

    With `mark` 0 `address` is the real server's own. Otherwise it is a VIP, and IPVS takes packets
    with that mark to the real server `real`. It is asked from the director's address `source`, by
    its interface `device`, if these are named.
    """

    address: IPAddress
    port: int
    mark: int = 0
    real: IPAddress | None = None
    source: IPAddress | None = None
    device: str = ""


class Answer(NamedTuple):
    """What came of asking once: passed, failed, or None where nobody knows; and why, in words."""

    passed: bool | None
    why: str


class Kind(NamedTuple):
    """What is written behind the kind's name, and which words it may have beside the common."""

    form: str
    words: tuple[str, ...] = ()


COMMON = {"every": "SECONDS", "timeout": "SECONDS", "fall": "N", "rise": "N"}
WORDS = {
    "port": "PORT",
    "status": "200-399",
    "body": "REGEX",
    "host": "NAME",
    "sni": "NAME",
    "verify": "yes|no",
    "send": "HEX",
    "expect": "HEX",
} | COMMON
KINDS = {
    "tcp": Kind("tcp[:PORT]"),
    "http": Kind("http:/PATH", ("port", "status", "body", "host")),
    "https": Kind("https:/PATH", ("port", "status", "body", "host", "sni", "verify")),
    "udp": Kind("udp[:PORT]", ("send", "expect")),
    "dns": Kind("dns:NAME[,TYPE]", ("port",)),
    "exec": Kind("exec:/PROGRAM", ("port",)),
}
FORM = "|".join(kind.form for kind in KINDS.values()) + "[,KEY=VALUE…]"


def parse_checks(texts: Iterable[str]) -> tuple[Check, ...]:
    """Sorted, each once; the word `no` alone stands for none. Raises UsageError."""
    words = list(texts)
    return () if words == ["no"] else tuple(sorted(set(map(parse_check, words))))


def parse_check(text: str) -> Check:
    """KIND[:WHAT][,KEY=VALUE…], as `str` writes it. A comma in a value is written `\\,`."""
    head, *words = (word.replace("\\,", ",") for word in re.split(r"(?<!\\),", text))
    kind, colon, what = head.partition(":")
    if kind not in KINDS or (colon and not what):
        raise UsageError(f"{text!r} is not a check", hint=f"write {_forms()}")
    found = _asked(kind, what)
    if kind == "dns" and words and "=" not in words[0]:
        found["record"] = _one_of(words.pop(0).upper(), "a type of DNS records", RECORDS)
    for word in words:
        key, value = _word(text, kind, word)
        if key in found:
            raise UsageError(f"{text!r} says {key} twice", hint="say it once")
        found[key] = READERS[key](value)
    found.setdefault("timeout", min(TIMEOUT, found.get("every", EVERY)))
    return _whole(text, Check(kind, **found))


def _forms() -> str:
    return ", ".join(kind.form for kind in KINDS.values())


def _asked(kind: str, what: str) -> dict[str, Any]:
    """What stands behind the kind's name."""
    if kind in ("tcp", "udp"):
        return {"port": number(what, "port", 1, 65535)} if what else {}
    if kind == "dns":
        return {"what": _host(what)}
    if kind == "exec":
        return {"what": _program(what)}
    if not re.fullmatch(r"(?!//)/[!-\[\]-~]*", what or "/"):
        raise UsageError(
            f"{what!r} is not a path to ask for by {kind}",
            hint=f"write {kind}:/PATH, host=NAME behind it; a space is %20, a backslash %5C",
        )
    return {"what": what or "/"}


def _program(path: str) -> str:
    if not re.fullmatch(r"/[^\0\n\\]+", path):
        raise UsageError(f"{path!r} is not the path of a program", hint="write exec:/PROGRAM")
    return path


def _word(text: str, kind: str, word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    known = (*KINDS[kind].words, *COMMON)
    if key not in known or not equals:
        said = " ".join(f"{key}={WORDS[key]}" for key in known)
        comma = "; a comma in a value is written \\," if kind.startswith("http") else ""
        raise UsageError(
            f"check {text!r}: unexpected {word!r}", hint=f"a check by {kind} has: {said}{comma}"
        )
    return key, value


def _whole(text: str, check: Check) -> Check:
    """Returns the check. Raises UsageError for one that nobody could carry out."""
    if check.timeout > check.every:
        raise UsageError(
            f"check {text!r} would be asked again before its timeout",
            hint=f"timeout={span(check.every)} at most, or a longer every=",
        )
    if check.kind == "https" and check.verify and not (check.sni or check.host):
        raise UsageError(
            f"check {text!r} does not say whose certificate is right",
            hint="add host=NAME (or sni=NAME), or verify=no",
        )
    if check.kind == "udp" and not check.send:
        raise UsageError(
            f"check {text!r} sends nothing, to which a UDP server answers nothing",
            hint="add send=HEX, the bytes of a question that it answers",
        )
    return check


def _one_of(text: str, what: str, known: Iterable[str]) -> str:
    if text not in known:
        raise UsageError(f"{text!r} is not {what}", hint="one of " + " ".join(known))
    return text


LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"


def _host(text: str) -> str:
    if len(text) > 253 or not re.fullmatch(rf"{LABEL}(\.{LABEL})*", text):
        raise UsageError(f"{text!r} is not a host's name", hint="such as www.example.org")
    return text


def _status(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    low, high = (number(word, "status of HTTP", *EVERY_STATUS) for word in (first, last or first))
    if low > high:
        raise UsageError(f"status={text} ends before it begins", hint=f"status={high}-{low}?")
    return low, high


def _regex(text: str) -> str:
    try:
        re.compile(text.encode())
    except re.error as e:
        raise UsageError(
            f"body={text} is no regular expression: {e}", hint="write it as Python reads it"
        ) from e
    if not text or text.endswith("\\"):
        hint = "leave body out" if not text else "write a backslash at the end as [\\\\]"
        raise UsageError(f"body={text} cannot be looked for", hint=hint)
    return text


def _bytes(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if not 0 < len(found) <= MOST_BYTES:
        raise UsageError(
            f"{text[:40]!r} is not bytes in hexadecimal",
            hint=f"two digits a byte, such as 70696e67 for ping, {MOST_BYTES} bytes at most",
        )
    return found


def _switch(text: str) -> bool:
    return _one_of(text, "yes or no", ("yes", "no")) == "yes"


def _port(text: str) -> int:
    return number(text, "port", 1, 65535)


def _time(text: str) -> float:
    return seconds(text, SHORTEST, LONGEST)


def _times(text: str) -> int:
    return number(text, "number of times", 1, MOST_TIMES)


READERS: dict[str, Any] = {
    "port": _port, "status": _status, "body": _regex, "host": _host, "sni": _host,
    "verify": _switch, "send": _bytes, "expect": _bytes,
    "every": _time, "timeout": _time, "fall": _times, "rise": _times,
}  # fmt: skip


def span(time: float) -> str:
    """A time as `seconds` reads it: 2s, 0.25s."""
    return f"{time:.3f}".rstrip("0").rstrip(".") + "s"


def _head(check: Check) -> str:
    what = check.what or (str(check.port) if check.port else "")
    record = f",{check.record}" if check.kind == "dns" else ""
    return check.kind + (f":{escaped(what)}" if what else "") + record


def _tail(check: Check) -> Iterable[str]:
    """Its words that differ from what they are if they are not said."""
    usual = Check(check.kind, timeout=min(TIMEOUT, check.every))
    for key in (*KINDS[check.kind].words, *COMMON):
        if (value := getattr(check, key)) != getattr(usual, key):
            yield f"{key}={_written(key, value)}"


def _written(key: str, value: Any) -> str:
    if key == "status":
        low, high = value
        return str(low) if low == high else f"{low}-{high}"
    if key == "verify":
        return "yes" if value else "no"
    if isinstance(value, bytes):
        return value.hex()
    return span(value) if isinstance(value, float) else escaped(str(value))


def escaped(text: str) -> str:
    return text.replace(",", "\\,")
