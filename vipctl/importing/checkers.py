"""keepalived's checkers, as checks of ours. Pure.

A checker is carried over whole or not at all: one with a word that has no equal is left out, and
named.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import reduce
from shlex import quote
from typing import NamedTuple

from vipctl.errors import UsageError
from vipctl.importing.blocks import Statement, argument, find, last
from vipctl.importing.found import Note, Server
from vipctl.services.checks import Check, escaped, parse_check, span
from vipctl.services.syntax import number, port_number, seconds

PACE = {"connect_timeout", "retry", "delay_before_retry", "delay_loop"}
COMMON = PACE | {"nb_get_retry", "warmup", "alpha", "log_all_failures"}
WEB = COMMON | {"connect_port", "url", "virtualhost", "http_protocol", "fast_recovery"}
OF_URLS = {"path", "status_code", "virtualhost", "regex"}
KNOWN = {  # words, by checker
    "TCP_CHECK": COMMON | {"connect_port"},
    "HTTP_GET": WEB,
    "SSL_GET": WEB | {"enable_sni"},
    "UDP_CHECK": COMMON | {"connect_port", "payload", "require_reply"},
    "MISC_CHECK": COMMON | {"misc_path", "misc_timeout", "user"},
    "DNS_CHECK": COMMON | {"connect_port", "type", "name"},
}
UNEQUAL = {
    "DNS_CHECK": "vipctl's dns wants a record in the answer too",
    "SMTP_CHECK": "vipctl does not speak SMTP",
    "PING_CHECK": "vipctl sends real servers no pings",
    "BFD_CHECK": "vipctl speaks no BFD with real servers",
    "FILE_CHECK": "vipctl reads no such file",
}
NEAREST = {
    "TCP_CHECK": "tcp:PORT",
    "HTTP_GET": "http:/PATH,port=PORT,body=REGEX",
    "SSL_GET": "https:/PATH,port=PORT,verify=no,body=REGEX",
    "UDP_CHECK": "udp:PORT,send=HEX",
    "MISC_CHECK": "exec:/PROGRAM",
    "DNS_CHECK": "dns:NAME,TYPE,port=53",
    "SMTP_CHECK": "tcp:25",
    "PING_CHECK": "exec:/PROGRAM",
    "BFD_CHECK": "exec:/PROGRAM",
    "FILE_CHECK": "exec:/PROGRAM",
}
LOOP, TIMEOUT, STATUS, QUESTION = "60", "5", "200-299", "SOA"  # where it is not said
RETRIES = {"DNS_CHECK": "3", "MISC_CHECK": "0"}  # of all others 1
BEFORE_RETRIES = {"HTTP_GET": "3", "SSL_GET": "3"}  # seconds; of all others 1, DNS_CHECK's apart
MOST_RETRIES = 999
NOBODY = (["nobody"], ["nobody", "nogroup"])
# What PCRE and Python, or keepalived within quotes and without, may read differently.
DOUBTFUL = re.compile(r"['\\]|\(\?|\(\*|\[[^\]]*\[|\{,")


class Checker(NamedTuple):
    """A checker's block, its real server's, its virtual server's."""

    block: Statement
    server: Statement
    of: Statement

    @property
    def kind(self) -> str:
        return self.block.words[0]

    def first(self, *names: str, default: str) -> str:
        """As the innermost block says that has the word."""
        found = next(filter(None, (find(block, *names) for block in self)), None)
        return default if found is None else argument(found)


class Asked(NamedTuple):
    """What a checker asks a real server; `own` if at the port that the server is to keep."""

    block: Statement
    server: Server
    check: Check
    own: bool
    notes: tuple[Note, ...]

    @property
    def unported(self) -> Check:
        return self.check._replace(port=0)


def carried(
    of: Statement, servers: Iterable[tuple[Statement, Server]], notes: list[Note]
) -> tuple[Check, ...]:
    """The checks that all real servers have: a service has the same for all. Others are noted."""
    asked = [list(_asked(of, *server, notes)) for server in servers]
    same = _common({one.check for one in each} for each in asked)
    own = _common(
        {one.unported for one in each if one.own and one.check not in same} for each in asked
    )
    told: dict[Note, None] = {}
    for one in (one for each in asked for one in each):
        shared = one.check in same or (one.own and one.unported in own)
        told |= dict.fromkeys(one.notes if shared else [_of_some(one)])
    notes += told
    return tuple(sorted(same | own))


def _common(sets: Iterable[set[Check]]) -> set[Check]:
    found = list(sets)
    return reduce(set.intersection, found) if found else set()


def _of_some(one: Asked) -> Note:
    why = "left out: other real servers have it otherwise or not, and a service has checks for all"
    words = f"{one.block.words[0]} of {one.server.address}"
    return Note(one.block.place, words, f"{why}; {_advice([str(one.check)])}")


def _advice(checks: Iterable[str]) -> str:
    return "set-service NAME" + "".join(f" --check {quote(check)}" for check in checks)


def _asked(of: Statement, server: Statement, read: Server, notes: list[Note]) -> Iterator[Asked]:
    """Checkers that cannot be carried over are noted."""
    for block in server.body:
        if block.words[0] not in NEAREST:
            continue
        checker = Checker(block, server, of)
        try:
            checks = [_check(checker, head) for head in _heads(checker)]
        except UsageError as e:
            why = f"left out: {e.message}; {_advice(_nearest(checker))} comes near"
            notes.append(Note(block.place, checker.kind, why))
            continue
        own = read.port > 0 and find(block, "connect_port") is None
        pace = tuple(_pace_notes(checker))
        yield from (Asked(block, read, check, own, pace) for check in checks)


def _nearest(checker: Checker) -> list[str]:
    """As it would be without the words that have no equal."""
    if checker.kind in HEADS:
        plain = checker._replace(block=_known(checker.block, KNOWN[checker.kind]))
        with suppress(UsageError):
            return [str(_check(plain, head)) for head in HEADS[plain.kind](plain)]
    return [NEAREST[checker.kind]]


def _known(block: Statement, known: set[str]) -> Statement:
    """With its known words alone."""
    unequal = {"regex"} if find(block, "regex_no_match") else set()
    body = [_known(s, OF_URLS) if s.words[0] == "url" else s for s in block.body]
    return block._replace(body=[s for s in body if s.words[0] in known - unequal])


def _heads(checker: Checker) -> list[str]:
    """What is asked, without where and how often; one for each question. Raises UsageError."""
    if checker.kind in UNEQUAL:
        raise UsageError(UNEQUAL[checker.kind])
    _refuse_unknown(checker.block, KNOWN[checker.kind])
    return list(HEADS[checker.kind](checker))


def _refuse_unknown(block: Statement, known: set[str]) -> None:
    unknown = dict.fromkeys(s.words[0] for s in block.body if s.words[0] not in known)
    if unknown:
        raise UsageError(f"vipctl has nothing like its {' and '.join(unknown)}")


def _check(checker: Checker, head: str) -> Check:
    """Raises UsageError."""
    pace = _pace(checker)
    words = (f"every={span(pace.every)}", f"timeout={span(min(pace.timeout, pace.every))}")
    check = parse_check(",".join([head, *words, f"fall={pace.retry + 1}", "rise=1"]))
    text = last(checker.block, "connect_port", default="".join(checker.server.words[2:3]))
    port = text.lstrip("0")
    if not port and check.kind != "exec":
        raise UsageError("neither connect_port nor real_server names a port")
    return check._replace(port=port_number(port, "tcp") if port else 0)


class Pace(NamedTuple):
    """Of a checker; times in seconds. `again` is how soon it asks again after a failure."""

    every: float
    timeout: float
    retry: int
    again: float


def _pace(checker: Checker) -> Pace:
    kind, every = checker.kind, checker.first("delay_loop", default=LOOP)
    retry = checker.first("retry", "nb_get_retry", default=RETRIES.get(kind, "1"))
    usual = every if kind == "DNS_CHECK" else BEFORE_RETRIES.get(kind, "1")
    again = checker.first("delay_before_retry", default=usual)
    timeout = checker.first("connect_timeout", default=TIMEOUT)
    if kind == "MISC_CHECK":
        timeout = _patience(checker)
    times = number(retry, "number of retries", 0, MOST_RETRIES)
    return Pace(_time(every), _time(timeout), times, _time(again))


def _patience(checker: Checker) -> str:
    """A program's time; 0 is none of its own."""
    said = last(checker.block, "misc_timeout", default="0")
    return said if said.strip("0") else last(checker.of, "delay_loop", default=LOOP)


def _time(text: str) -> float:
    return seconds(text, 0, 86400)


def _pace_notes(checker: Checker) -> Iterator[Note]:
    """What of it vipctl has otherwise."""
    pace, place = _pace(checker), checker.block.place
    every, timeout = span(pace.every), span(pace.timeout)
    if pace.timeout > pace.every:
        words = "misc_timeout" if checker.kind == "MISC_CHECK" else "connect_timeout"
        why = f"vipctl waits {every} at most (delay_loop), not {timeout}"
        yield Note(place, words, f"{why}; with a longer every= it can")
    if pace.retry and pace.again != pace.every:
        why = f"vipctl asks again after {every} (delay_loop), not {span(pace.again)}"
        how = "sooner" if pace.again > pace.every else "later; a shorter every= makes up for it"
        yield Note(place, "delay_before_retry", f"{why}, so it finds failures {how}")


def _tcp(_checker: Checker) -> Iterator[str]:
    yield "tcp"


def _web(checker: Checker) -> Iterator[str]:
    urls = [s for s in checker.block.body if s.words[0] == "url"]
    if not urls:
        raise UsageError("it has no url")
    return (_url(checker, url) for url in urls)


def _url(checker: Checker, url: Statement) -> str:
    _refuse_unknown(url, OF_URLS)
    encrypted = checker.kind == "SSL_GET"
    words = [f"http{'s' * encrypted}:{escaped(_of(url, 'path'))}", f"status={_status(url)}"]
    if found := find(url, "regex"):
        words.append(f"body={escaped(_regex(found))}")
    if host := last(url, "virtualhost", default=checker.first("virtualhost", default="")):
        words.append(f"host={escaped(host)}")
    return ",".join([*words, *["verify=no"] * encrypted])


def _of(block: Statement, name: str) -> str:
    found = find(block, name)
    if found is None:
        raise UsageError(f"its {block.words[0]} has no {name}")
    return argument(found)


def _status(url: Statement) -> str:
    """One range, as ours have no more."""
    found = find(url, "status_code")
    texts = found.words[1:] if found and len(found.words) > 1 else [STATUS]
    (low, high), *others = sorted(map(_ends, texts))
    for first, end in others:
        if first > high + 1:
            raise UsageError(f"status_code {' '.join(texts)} is not one range")
        high = max(high, end)
    return f"{low}-{high}"


def _ends(text: str) -> tuple[int, int]:
    first, _, end = text.partition("-")
    low, high = (number(word, "status of HTTP", 100, 599) for word in (first, end or first))
    return low, high


def _regex(found: Statement) -> str:
    text = argument(found)
    if len(found.words) > 2 or found.body or DOUBTFUL.search(text):
        raise UsageError(f"vipctl may read its regex {text} otherwise, being Python")
    return text


def _dns(checker: Checker) -> Iterator[str]:
    name = _of(checker.block, "name").rstrip(".")
    yield f"dns:{name},{last(checker.block, 'type', default=QUESTION)}"


def _udp(checker: Checker) -> Iterator[str]:
    sent, wanted = find(checker.block, "payload"), find(checker.block, "require_reply")
    if sent is None or wanted is None:
        raise UsageError("vipctl's udp sends a payload and wants a reply, and this has not both")
    expected = _hex(wanted.words[1:])
    yield f"udp,send={_hex(sent.words[1:])}" + (f",expect={expected}" if expected else "")


def _hex(words: Sequence[str]) -> str:
    """Of pairs of digits; the last one of a word may be alone."""
    pairs = (word[at : at + 2] for word in words for at in range(0, len(word), 2))
    return "".join(pair.zfill(2) for pair in pairs)


def _misc(checker: Checker) -> Iterator[str]:
    path, user = find(checker.block, "misc_path"), find(checker.block, "user")
    program = _of(checker.block, "misc_path")
    if (path and len(path.words) > 2) or re.search(r"\s", program):
        raise UsageError("vipctl runs programs without arguments, and tells them RIP and PORT")
    if user is None:
        raise UsageError("vipctl runs programs as nobody, and neither user nor script_user says so")
    theirs = " ".join([argument(user), *user.words[2:]])
    if user.words[1:] not in NOBODY:
        raise UsageError(f"vipctl runs programs as nobody, and keepalived runs it as {theirs}")
    yield f"exec:{escaped(program)}"


HEADS: dict[str, Callable[[Checker], Iterator[str]]] = {
    "TCP_CHECK": _tcp,
    "HTTP_GET": _web,
    "SSL_GET": _web,
    "UDP_CHECK": _udp,
    "MISC_CHECK": _misc,
    "DNS_CHECK": _dns,
}
