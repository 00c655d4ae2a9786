"""keepalived.conf: virtual_server and virtual_server_group blocks. Pure.

Blocks of other kinds, VRRP's for instance, are passed over.
"""

from collections.abc import Iterator
from itertools import pairwise

from vipctl.addresses.prefixes import address, parse_address, parse_range
from vipctl.errors import Refused, UsageError
from vipctl.importing import checkers
from vipctl.importing.blocks import Reader, Statement, Texts, argument, at, find, last
from vipctl.importing.found import (
    TIMEOUTS,
    Found,
    Mark,
    Note,
    Server,
    Settings,
    Vip,
    Virtual,
    Words,
    timeout,
)
from vipctl.importing.words import flags, mask, sync, tunnel
from vipctl.services.director import Director
from vipctl.services.syntax import parse_mark, port_number

FORWARD = {"NAT": "nat", "DR": "dr", "TUN": "tun"}
FAMILIES = {"inet": 4, "inet6": 6}
PERSISTENT = "360"  # seconds, where it is not said how many
PROTOCOL = "udp"  # where it is not said which
SCHEDULER, METHOD = ("lb_algo", "lvs_sched"), ("lb_kind", "lvs_method")
FLAGS = ("flag-1", "flag-2", "flag-3", "sh-port", "sh-fallback", "mh-port", "mh-fallback")
OF_CHECKS = {*checkers.PACE, "virtualhost", "inhibit_on_failure"}
OF_SERVICES = OF_CHECKS | {
    *(*SCHEDULER, *METHOD, *FLAGS, "ops", "hashed", "protocol", "ip_family", "real_server"),
    *("weight", "persistence_timeout", "persistence_granularity", "persistence_engine"),
    *("sorry_server", "sorry_server_inhibit", "sorry_server_lvs_method"),
}
OF_SERVERS = OF_CHECKS | {"weight", *METHOD, "uthreshold", "lthreshold", *checkers.NEAREST}
NO = ("false", "off", "no")
HARMLESS = {  # values with which nothing is lost
    **dict.fromkeys(("alpha", "smtp_alert", "log_all_failures"), NO),
    **dict.fromkeys(("quorum", "hysteresis"), ("0", "1")),
}
MANY = "vipctl lets the real servers that work serve, until none does"
SAID = "vipctl watch says so in the journal (journalctl SERVICE=NAME), and metrics have it"
WHY = {
    "alpha": "vipctl leaves real servers their weights until it has judged them; one that is added "
    "while vipctl watch runs has to pass first",
    "omega": "vipctl runs no program when vipctl watch ends",
    "warmup": "vipctl watch spreads its questions by itself",
    "ha_suspend": "vipctl watch asks wherever it runs",
    "quorum": MANY,
    "hysteresis": MANY,
    **dict.fromkeys(("quorum_up", "quorum_down"), f"vipctl runs no program then; {SAID}"),
    **dict.fromkeys(("notify_up", "notify_down"), f"vipctl runs no program then; {SAID}"),
    "smtp_alert": f"vipctl sends no mail; {SAID}",
    "snmp_name": "vipctl speaks no SNMP; vipctl metrics has numbers for Prometheus",
    "log_all_failures": "vipctl says what changes; vipctl list-checks has the last answers",
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
    reader.notes += _notes_of_all(statements)
    return Found(virtuals, _timeouts(statements), reader.notes)


class _Config:
    def __init__(self, statements: list[Statement], notes: list[Note]) -> None:
        self._notes = notes
        groups = [s for s in statements if s.words[0] == "virtual_server_group"]
        self._groups = {argument(group): group for group in groups}
        self._user = _for_all(statements, "script_user")

    def virtuals(self, of: Statement) -> Iterator[Virtual]:
        inner = (s for s in of.body if s.words[0] == "real_server")
        statements = [_run_as(self._user, s) for s in inner]
        servers = [self._server(of, s) for s in statements]
        self._note_others(of, OF_SERVICES)
        checked = self._checked(of, list(zip(statements, servers, strict=True)))
        fallback = _fallback(of)
        name = of.words[2] if of.words[1:2] == ["group"] and len(of.words) > 2 else ""
        for target in self._targets(of, servers):
            with at(of.place):
                words = {
                    "scheduler": self._scheduler(of, target),
                    "persistence": _persistence(of, target),
                    **checked,
                }
            yield Virtual(of.place, target, words, servers, name, fallback)

    def _targets(self, of: Statement, servers: list[Server]) -> Iterator[Mark | Vip]:
        whole = [of._replace(words=of.words[1:])]
        if argument(of) == "group":
            name = argument(whole[0])
            if name not in self._groups:
                raise UsageError(
                    f"{of.place}: there is no virtual_server_group {name}",
                    hint="is it in a file that is not included?",
                )
            whole = self._groups[name].body
        protocol = last(of, "protocol", default=PROTOCOL).lower()
        for entry in whole:
            try:
                with at(entry.place):
                    yield _target(entry, protocol, _version(of, servers))
            except Refused as e:
                self._notes.append(Note(entry.place, " ".join(entry.words), e.message))

    def _server(self, of: Statement, statement: Statement) -> Server:
        self._note_others(statement, OF_SERVERS)
        return _endpoint(of, statement)

    def _scheduler(self, of: Statement, target: Mark | Vip) -> str:
        name = last(of, *SCHEDULER, default="wlc")
        found, unknown = flags(name, [s.words[0] for s in of.body if s.words[0] in FLAGS])
        for flag in unknown:
            self._notes.append(Note(of.place, flag, f"scheduler {name} has no such flag"))
        once = any(s.words[0] == "ops" for s in of.body)
        may = isinstance(target, Mark) or target.protocol == "udp"
        return ",".join([name, *found, *["ops"] * (once and may)])

    def _checked(self, of: Statement, servers: list[tuple[Statement, Server]]) -> Settings:
        """Checks, and what follows from them; nothing where keepalived checks nothing."""
        blocks = [b for s, _ in servers for b in s.body if b.words[0] in checkers.NEAREST]
        if not blocks:
            return {}
        self._notes += [
            Note(lost.place, lost.words[0], WHY[lost.words[0]])
            for block in blocks
            for lost in block.body
            if lost.words[0] in WHY and not _harmless(lost)
        ]
        checks = [str(check) for check in checkers.carried(of, servers, self._notes)]
        return {"checks": checks, "dead_after": self._dead_after(of, servers), "all_down": "refuse"}

    def _dead_after(self, of: Statement, servers: list[tuple[Statement, Server]]) -> int:
        """keepalived removes a real server that fails, or sets its weight to 0 (inhibit)."""
        inhibited = [server for statement, server in servers if _inhibited(of, statement)]
        if len(inhibited) == len(servers):
            return 0
        why = "a service has one --dead-after for all: 1 removes those that fail, 0 removes none"
        for server in inhibited:
            words = f"inhibit_on_failure of {server.address}"
            self._notes.append(Note(server.place, words, why))
        return 1

    def _note_others(self, of: Statement, known: set[str]) -> None:
        for statement in of.body:
            word = statement.words[0]
            if word not in known and not _harmless(statement):
                why = WHY.get(word, "vipctl has nothing of that kind")
                self._notes.append(Note(statement.place, word, why))


def _harmless(statement: Statement) -> bool:
    name, *rest = statement.words
    return any(value in HARMLESS.get(name, ()) for value in rest[:1])


def _run_as(user: Statement | None, server: Statement) -> Statement:
    """A real server whose programs have a user: script_user is whose they are without."""
    if user is None:
        return server
    added = user._replace(words=["user", *user.words[1:]])
    body = [
        b._replace(body=[added, *b.body]) if b.words[0] == "MISC_CHECK" else b for b in server.body
    ]
    return server._replace(body=body)


def _inhibited(of: Statement, server: Statement) -> bool:
    found = find(server, "inhibit_on_failure") or find(of, "inhibit_on_failure")
    return found is not None and not {*found.words[1:2]} & {*NO}


def _target(entry: Statement, protocol: str, version: int) -> Mark | Vip:
    """Of a virtual_server, or a line of a group."""
    first, *rest = entry.words
    if first == "fwmark":
        family = rest[1] if len(rest) > 1 else ""
        return Mark(parse_mark(argument(entry)), FAMILIES.get(family, version))
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
    if family := FAMILIES.get(last(of, "ip_family", default="")):
        return family
    mask = last(of, "persistence_granularity", default="")
    plain = [s.address.version for s in servers if s.words["forward"] != "tun"]
    every = {s.address.version for s in servers}
    if not plain and mask:
        return 4 if "." in mask else 6
    return plain[0] if plain else 6 if every == {6} else 4


def _persistence(of: Statement, target: Mark | Vip) -> str:
    timeout = last(of, "persistence_timeout", default="", bare=PERSISTENT)
    granularity = last(of, "persistence_granularity", default="")
    engine = last(of, "persistence_engine", default="")
    needed = isinstance(target, Vip) and not target.port  # one that takes every port
    if not (timeout or granularity or needed):
        return "0"
    words = [timeout or PERSISTENT, *(mask(granularity, target.version) if granularity else ())]
    return ",".join([*words, *[f"pe={engine}"] * bool(engine)])


def _fallback(of: Statement) -> Server | None:
    found, method = find(of, "sorry_server"), find(of, "sorry_server_lvs_method")
    if found is None:
        return None
    body = [method._replace(words=[METHOD[1], *method.words[1:]])] if method else []
    server = _endpoint(of, found._replace(body=body))
    return server._replace(words={**server.words, "weight": "1"})


def _endpoint(of: Statement, statement: Statement) -> Server:
    """Of a real_server, or a sorry_server."""
    with at(statement.place):
        where = address(*parse_address(argument(statement)))
        port = "".join(statement.words[2:3]).lstrip("0")
        words = _server_words(of, statement)
        number = port_number(port, "tcp") if port and words["forward"] == "nat" else 0
    return Server(statement.place, where, number, words)


def _server_words(of: Statement, statement: Statement) -> Words:
    method = find(statement, *METHOD) or find(of, *METHOD)
    kind, wrapped = (argument(method), method.words[2:]) if method else ("NAT", [])
    if kind not in FORWARD:
        raise UsageError(f"{kind!r} is not a method", hint="one of " + " ".join(FORWARD))
    options = dict(pairwise(wrapped))
    sums = [word for word in wrapped if word in ("csum", "remcsum")]
    found = tunnel(options.get("type", "ipip"), options.get("port", ""), sums)
    limits = {"upper": "uthreshold", "lower": "lthreshold"}
    given = {key: last(statement, name, default="") for key, name in limits.items()}
    weight = last(statement, "weight", default=last(of, "weight", default="1"))
    words = {"forward": FORWARD[kind], **found, "weight": weight, **given}
    return {key: word for key, word in words.items() if word}


def _notes_of_all(statements: list[Statement]) -> Iterator[Note]:
    """What is for all virtual servers, and vipctl has otherwise."""
    for of in statements:
        found = find(of, "lvs_sync_daemon") if of.words[0] == "global_defs" else None
        if found is not None:
            number = dict(pairwise(found.words)).get("id", "")
            yield Note(found.place, found.words[0], sync(argument(found), number))
        shown = find(of, "certificate", "key") if of.words[0] == "SSL" else None
        if shown is not None:
            yield Note(
                shown.place,
                shown.words[0],
                "vipctl shows real servers no certificate when it checks them by https",
            )


def _for_all(statements: list[Statement], name: str) -> Statement | None:
    lines = [find(s, name) for s in statements if s.words[0] == "global_defs"]
    return next(filter(None, reversed(lines)), None)


def _timeouts(statements: list[Statement]) -> Director:
    lines = [find(s, "lvs_timeouts") for s in statements if s.words[0] == "global_defs"]
    found: dict[str, int] = {}
    for line in filter(None, lines):
        with at(line.place):
            for protocol, seconds in pairwise(line.words):
                found |= timeout(protocol, seconds) if protocol in TIMEOUTS else {}
    return found
