"""The `fwmark` method: an nftables lookup in PREROUTING marks, an `ip rule` on the mark accepts.

The table, drawn by `ruleset`:

    prerouting   PREROUTING, -140     destination → fwmark; one hash map per prefix length
    ping         PREROUTING, -100     echo requests of services with --ping go to the director
    before_ipvs  LOCAL_IN, 97         ports of services that name some; services without servers
    after_ipvs   LOCAL_IN, 100        the guard: what is still for a VIP here, IPVS did not take

Others may set marks too: wg-quick at -150, which -140 overrides; keepalived for addresses of the
director, so that nothing is refused whose destination is no VIP.

IPVS has priorities 98 and 99. All ICMP passes the first of its neighbours: errors must reach IPVS,
and what it does not take meets the guard.
"""

import hashlib
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network
from itertools import groupby

from vipctl import nft, routing
from vipctl.model import (
    MARK_MASK,
    MARK_VALUE,
    Acceptance,
    Entry,
    Leftover,
    Service,
    Shape,
    idle_versions,
)
from vipctl.prefixes import BITS, address

SELF = f"{nft.FAMILY} {nft.TABLE}"
PROTOCOL_NAME = {4: "ip", 6: "ip6"}
FAMILY_NAME = {4: "ipv4", 6: "ipv6"}


def probe() -> None:
    nft.declared()


def seal(acceptance: Acceptance) -> str | None:
    declared = nft.declared()
    if routing.read() != owned_routing(acceptance) or not _complete(declared, acceptance):
        return None
    return hashlib.sha256(declared.text.encode()).hexdigest() if declared else ""


def _complete(declared: nft.Declared | None, acceptance: Acceptance) -> bool:
    """Whether all maps, chains and as many rules as we made are there, and no others."""
    if declared is None or not acceptance.active():
        return declared is None and not acceptance.active()
    wanted = {name: len(lines) for name, (_, lines) in ruleset(acceptance).items()}
    return declared.maps == set(map(map_name, acceptance.shapes)) and declared.rules == wanted


def apply(
    before: Acceptance, after: Acceptance, removed: Iterable[Entry], added: Iterable[Entry]
) -> None:
    if not (before.active() and after.active()):
        return load(after, added)
    stale = before.shapes - after.shapes
    commands = [f"add table {SELF}\n", *map(_add_map, sorted(after.shapes - before.shapes))]
    if ruleset(before) != ruleset(after):
        commands.append(_replace_chains(before, after))
    commands += _elements("delete", (e for e in removed if e.shape not in stale))
    commands += _elements("add", added)
    commands += [f"delete map {SELF} {map_name(shape)}\n" for shape in sorted(stale)]
    _commit(after, "".join(commands))
    return None


def load(after: Acceptance, entries: Iterable[Entry]) -> None:
    commands = [f"add table {SELF}\ndelete table {SELF}\n"]
    if after.active():
        commands.append(f"add table {SELF}\n")
        commands += map(_add_map, sorted(after.shapes))
        commands.append(_replace_chains(Acceptance((), frozenset()), after))
        commands += _elements("add", entries)
    _commit(after, "".join(commands))


def holds(acceptance: Acceptance, entries: Iterator[Entry]) -> bool:
    wanted: dict[Shape, dict[str, int]] = {shape: {} for shape in acceptance.shapes}
    for shape, start, mark in entries:
        wanted[shape][str(address(shape.version, start))] = mark
    declared = nft.declared()
    if declared is None:
        return not wanted
    return declared.maps == set(map(map_name, wanted)) and all(
        nft.elements(map_name(shape)) == found for shape, found in wanted.items()
    )


def _commit(after: Acceptance, commands: str) -> None:
    """Acceptance before marks, marks before the end of acceptance; all or nothing."""
    wanted, present = owned_routing(after), routing.read()
    try:
        routing.add(wanted - present)
        nft.run(commands)
    except BaseException:
        routing.delete(routing.read() - present)
        raise
    routing.delete(present - wanted)


def owned_routing(acceptance: Acceptance) -> set[routing.Owned]:
    """For the IP versions in use; our whole block of marks needs one rule."""
    if not acceptance.active():
        return set()
    marks = {
        (MARK_VALUE, MARK_MASK) if s.fwmark & MARK_MASK == MARK_VALUE else (s.fwmark, 0xFFFFFFFF)
        for s in acceptance.services
    }
    return {
        item
        for version in {shape.version for shape in acceptance.shapes}
        for item in routing.accepting(version, sorted(marks))
    }


def map_name(shape: Shape) -> str:
    plane = f"_p{shape.plane}" if shape.plane else ""
    return f"v{shape.version}_{shape.length}{plane}"


def ruleset(acceptance: Acceptance) -> dict[str, tuple[str, list[str]]]:
    """The chains by name, each after those that it jumps to: (hook or nothing, rules)."""
    if not acceptance.active():
        return {}
    services = acceptance.services
    lookups = [_lookup(shape) for shape in _lookup_order(acceptance.shapes)]
    chains = {
        "leftover": ("", _leftover(services)),
        "still_vip": ("", [f"{lookup} goto leftover" for lookup in lookups]),
        "prerouting": ("filter hook prerouting priority mangle + 10", lookups),
        "after_ipvs": ("filter hook input priority 100", [f"{_marks(services)} jump still_vip"]),
    }
    if pinged := [s for s in services if s.ping]:
        chains["ping"] = ("nat hook prerouting priority dstnat", _ping(pinged))
    if checked := [s for s in services if s.ports or idle_versions(s)]:
        chains["served"] = ("", _served(checked))
        chains["check"] = ("", _check(acceptance, checked))
        chains["before_ipvs"] = (
            "filter hook input priority 97",
            [f"{_marks(checked)} jump check"],
        )
    return chains


def _lookup_order(shapes: Iterable[Shape]) -> list[Shape]:
    return sorted(shapes, key=lambda shape: (shape.plane, shape.version, shape.length))


def _lookup(shape: Shape) -> str:
    key = f"{PROTOCOL_NAME[shape.version]} daddr"
    if shape.length < BITS[shape.version]:
        network = IPv4Network if shape.version == 4 else IPv6Network
        key += f" & {network((0, shape.length)).netmask}"
    return f"meta mark set {key} map @{map_name(shape)}"


def _leftover(services: Iterable[Service]) -> list[str]:
    dropped = [s for s in services if s.leftover is Leftover.DROP]
    quiet = [f"{_marks(dropped)} drop"] if dropped else []
    return [*quiet, "meta l4proto tcp reject with tcp reset", "reject with icmpx port-unreachable"]


def _ping(services: Iterable[Service]) -> list[str]:
    return [
        f"{_marks(services)} icmp type echo-request redirect",
        f"{_marks(services)} icmpv6 type echo-request redirect",
    ]


def _check(acceptance: Acceptance, checked: list[Service]) -> list[str]:
    """Whose port is it? Where services share addresses, each plane's mark is tried in turn."""
    rules = ["meta l4proto { icmp, ipv6-icmp } return"]
    if free := [s for s in checked if not s.ports]:
        rules.append(f"{_marks(free)} goto served")
    ports = [f"{s.fwmark:#x} . {p.protocol} . {p.number}" for s in checked for p in s.ports]
    if not ports:
        return rules
    its_port = f"meta mark . meta l4proto . th dport {_set(ports)} goto served"
    rules.append(its_port)
    if len({shape.plane for shape in acceptance.shapes}) > 1:
        for _, shapes in groupby(_lookup_order(acceptance.shapes), key=lambda s: s.plane):
            rules += [*map(_lookup, shapes), its_port]
    return [*rules, "goto still_vip"]


def _served(checked: list[Service]) -> list[str]:
    """Refuses at once what no real server could answer."""
    idle = [
        f"{FAMILY_NAME[version]} . {s.fwmark:#x}" for s in checked for version in idle_versions(s)
    ]
    return [f"meta nfproto . meta mark {_set(idle)} goto still_vip"] if idle else []


def _marks(services: Iterable[Service]) -> str:
    return f"meta mark {_set(f'{s.fwmark:#x}' for s in services)}"


def _set(words: Iterable[str]) -> str:
    return "{ " + ", ".join(words) + " }"


def _add_map(shape: Shape) -> str:
    return f"add map {SELF} {map_name(shape)} {{ type ipv{shape.version}_addr : mark; }}\n"


def _replace_chains(before: Acceptance, after: Acceptance) -> str:
    old, new = ruleset(before), ruleset(after)
    flush = "".join(f"flush chain {SELF} {name}\n" for name in old)
    gone = "".join(f"delete chain {SELF} {name}\n" for name in reversed(old) if name not in new)
    return flush + table_text(new) + gone


def table_text(chains: dict[str, tuple[str, list[str]]]) -> str:
    blocks = []
    for name, (hook, rules) in chains.items():
        lines = [f"type {hook}; policy accept;"] if hook else []
        body = "".join(f"\t\t{line}\n" for line in [*lines, *rules])
        blocks.append(f"\tchain {name} {{\n{body}\t}}\n")
    return f"table {SELF} {{\n{''.join(blocks)}}}\n"


def _elements(verb: str, entries: Iterable[Entry]) -> Iterator[str]:
    """One command for each map."""
    by_shape: dict[Shape, list[str]] = {}
    for shape, start, mark in entries:
        pair = f"{address(shape.version, start)} : {mark:#x}"
        by_shape.setdefault(shape, []).append(pair)
    for shape, pairs in by_shape.items():
        yield f"{verb} element {SELF} {map_name(shape)} {_set(pairs)}\n"
