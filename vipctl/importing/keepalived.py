"""keepalived.conf: virtual_server and virtual_server_group blocks. Pure.

What is in them of checks is noted by name and not carried over; blocks of other kinds, VRRP's for
instance, are passed over.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

from vipctl.addresses.prefixes import address, parse_address, parse_range
from vipctl.errors import Refused, UsageError
from vipctl.importing.blocks import Reader, Statement, Texts
from vipctl.importing.found import (
    TIMEOUTS,
    Found,
    Mark,
    Note,
    Place,
    Server,
    Vip,
    Virtual,
    Words,
    timeout,
)
from vipctl.importing.words import flags, mask, tunnel
from vipctl.services.director import Director
from vipctl.services.syntax import parse_mark, port_number

FORWARD = {"NAT": "nat", "DR": "dr", "TUN": "tun"}
FAMILIES = {"inet": 4, "inet6": 6}
PERSISTENT = "360"  # seconds, where it is not said how many
PROTOCOL = "udp"  # where it is not said which
SCHEDULER, METHOD = ("lb_algo", "lvs_sched"), ("lb_kind", "lvs_method")
FLAGS = ("flag-1", "flag-2", "flag-3", "sh-port", "sh-fallback", "mh-port", "mh-fallback")
OF_SERVICES = {
    *(*SCHEDULER, *METHOD, *FLAGS, "ops", "hashed", "protocol", "ip_family", "real_server"),
    *("weight", "persistence_timeout", "persistence_granularity", "persistence_engine"),
}
OF_SERVERS = {"weight", *METHOD, "uthreshold", "lthreshold"}
OF_CHECKS = {
    *("delay_loop", "retry", "delay_before_retry", "warmup", "connect_timeout", "ha_suspend"),
    *("virtualhost", "alpha", "omega", "quorum", "hysteresis", "quorum_up", "quorum_down"),
    *("inhibit_on_failure", "notify_up", "notify_down", "smtp_alert"),
}


def read(file: str, text: str, include: Texts) -> Found:
    """Raises UsageError naming file and line."""
    reader = Reader(include)
    statements = reader.read(file, text)
    config = _Config(statements, reader.notes)
    virtuals = [
        virtual
        for statement in statements
        if statement.words[0] == "virtual_server"
        for virtual in config.virtuals(statement)
    ]
    return Found(virtuals, _timeouts(statements), reader.notes)


class _Config:
    def __init__(self, statements: list[Statement], notes: list[Note]) -> None:
        self._notes = notes
        groups = [s for s in statements if s.words[0] == "virtual_server_group"]
        self._groups = {_word(group): group for group in groups}

    def virtuals(self, of: Statement) -> Iterator[Virtual]:
        servers = [self._server(of, s) for s in of.body if s.words[0] == "real_server"]
        self._note_others(of, OF_SERVICES)
        name = of.words[2] if of.words[1:2] == ["group"] and len(of.words) > 2 else ""
        for target in self._targets(of, servers):
            with _at(of.place):
                words = {
                    "scheduler": self._scheduler(of, target),
                    "persistence": _persistence(of, target),
                }
            yield Virtual(of.place, target, words, servers, name)

    def _targets(self, of: Statement, servers: list[Server]) -> Iterator[Mark | Vip]:
        whole = [of._replace(words=of.words[1:])]
        if _word(of) == "group":
            name = _word(whole[0])
            if name not in self._groups:
                raise UsageError(
                    f"{of.place}: there is no virtual_server_group {name}",
                    hint="is it in a file that is not included?",
                )
            whole = self._groups[name].body
        protocol = _last(of, "protocol", default=PROTOCOL).lower()
        for entry in whole:
            try:
                with _at(entry.place):
                    yield _target(entry, protocol, _version(of, servers))
            except Refused as e:
                self._notes.append(Note(entry.place, " ".join(entry.words), e.message))

    def _server(self, of: Statement, statement: Statement) -> Server:
        self._note_others(statement, OF_SERVERS)
        with _at(statement.place):
            where = address(*parse_address(_word(statement)))
            port = "".join(statement.words[2:3]).lstrip("0")
            words = _server_words(of, statement)
            number = port_number(port, "tcp") if port and words["forward"] == "nat" else 0
        return Server(statement.place, where, number, words)

    def _scheduler(self, of: Statement, target: Mark | Vip) -> str:
        name = _last(of, *SCHEDULER, default="wlc")
        found, unknown = flags(name, [s.words[0] for s in of.body if s.words[0] in FLAGS])
        for flag in unknown:
            self._notes.append(Note(of.place, flag, f"scheduler {name} has no such flag"))
        once = any(s.words[0] == "ops" for s in of.body)
        may = isinstance(target, Mark) or target.protocol == "udp"
        return ",".join([name, *found, *["ops"] * (once and may)])

    def _note_others(self, of: Statement, known: set[str]) -> None:
        for statement in of.body:
            word = statement.words[0]
            if word not in known:
                self._notes.append(Note(statement.place, word, _why(word)))


def _why(word: str) -> str:
    if word.startswith("sorry_server"):
        return "vipctl has no server of last resort"
    if word in OF_CHECKS or word.endswith(("_CHECK", "_GET")):
        return "vipctl does not check real servers"
    return "vipctl has nothing of that kind"


def _target(entry: Statement, protocol: str, version: int) -> Mark | Vip:
    """Of a virtual_server, or a line of a group."""
    first, *rest = entry.words
    if first == "fwmark":
        family = rest[1] if len(rest) > 1 else ""
        return Mark(parse_mark(_word(entry)), FAMILIES.get(family, version))
    port = rest[0].lstrip("0") if rest else ""
    number = port_number(port, protocol) if port else 0
    return Vip(protocol, *parse_range(_whole(first)), number)


def _whole(text: str) -> str:
    """192.168.200.3-10 is short for 192.168.200.3-192.168.200.10, ae00::2-9 for ae00::2-ae00::9."""
    first, dash, last = text.partition("-")
    sign = ":" if ":" in first else "."
    short = dash and sign not in last
    return f"{first}-{first.rpartition(sign)[0]}{sign}{last}" if short else text


def _version(of: Statement, servers: list[Server]) -> int:
    """Of a fwmark: as is said, or as a server that is not tunnelled has it, or as all have it."""
    if family := FAMILIES.get(_last(of, "ip_family", default="")):
        return family
    mask = _last(of, "persistence_granularity", default="")
    plain = [s.address.version for s in servers if s.words["forward"] != "tun"]
    every = {s.address.version for s in servers}
    if not plain and mask:
        return 4 if "." in mask else 6
    return plain[0] if plain else 6 if every == {6} else 4


def _persistence(of: Statement, target: Mark | Vip) -> str:
    timeout = _last(of, "persistence_timeout", default="", bare=PERSISTENT)
    granularity = _last(of, "persistence_granularity", default="")
    engine = _last(of, "persistence_engine", default="")
    needed = isinstance(target, Vip) and not target.port  # one that takes every port
    if not (timeout or granularity or needed):
        return "0"
    words = [timeout or PERSISTENT, *(mask(granularity, target.version) if granularity else ())]
    return ",".join([*words, *[f"pe={engine}"] * bool(engine)])


def _server_words(of: Statement, statement: Statement) -> Words:
    method = _find(statement, *METHOD) or _find(of, *METHOD)
    kind, wrapped = (_word(method), method.words[2:]) if method else ("NAT", [])
    if kind not in FORWARD:
        raise UsageError(f"{kind!r} is not a method", hint="one of " + " ".join(FORWARD))
    options = dict(pairwise(wrapped))
    sums = [word for word in wrapped if word in ("csum", "remcsum")]
    found = tunnel(options.get("type", "ipip"), options.get("port", ""), sums)
    limits = {"upper": "uthreshold", "lower": "lthreshold"}
    given = {key: _last(statement, name, default="") for key, name in limits.items()}
    weight = _last(statement, "weight", default=_last(of, "weight", default="1"))
    words = {"forward": FORWARD[kind], **found, "weight": weight, **given}
    return {key: word for key, word in words.items() if word}


def _timeouts(statements: list[Statement]) -> Director:
    lines = [_find(s, "lvs_timeouts") for s in statements if s.words[0] == "global_defs"]
    found: dict[str, int] = {}
    for line in filter(None, lines):
        with _at(line.place):
            for protocol, seconds in pairwise(line.words):
                found |= timeout(protocol, seconds) if protocol in TIMEOUTS else {}
    return found


def _find(of: Statement, *names: str) -> Statement | None:
    """The last one counts."""
    return next((s for s in reversed(of.body) if s.words[0] in names), None)


def _last(of: Statement, *names: str, default: str, bare: str = "") -> str:
    """The word behind a keyword; `bare` where there is none."""
    statement = _find(of, *names)
    if statement is None:
        return default
    return bare if bare and len(statement.words) == 1 else _word(statement)


def _word(statement: Statement) -> str:
    if len(statement.words) < 2:
        raise UsageError(
            f"{statement.place}: {statement.words[0]} is not complete",
            hint="see man keepalived.conf",
        )
    return statement.words[1]


@contextmanager
def _at(place: Place) -> Iterator[None]:
    try:
        yield
    except UsageError as e:
        if e.message.startswith(f"{place.file}:"):
            raise
        raise UsageError(f"{place}: {e.message}", hint=e.hint) from e
