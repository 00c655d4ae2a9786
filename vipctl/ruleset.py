"""What the nftables tables of several methods are drawn from. Pure.

lookup        destination → fwmark of its service; one hash map per prefix length
still_vip     the lookups again: others may set marks too, so that no mark alone is believed
check         ports of services that name some; services without servers
leftover      refuses or drops

A map of fixed size is filled and looked into faster than one that grows. Each has room for its
prefixes (v4_32_1024); when they become too many, all move to another, as `acceptance` finds out.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from itertools import groupby

from vipctl.model import Acceptance, Leftover, Service, Shape, idle_versions
from vipctl.spans import BITS

Chains = dict[str, tuple[str, list[str]]]  # each after those that it jumps to: (hook, rules)
KEPT = 4  # of what a command draws it needs the last again: before, between and after
PROTOCOL_NAME = {4: "ip", 6: "ip6"}
MAP_NAME = re.compile(r"v([46])_(\d+)(?:_p(\d+))?(?:_(\d+))?")
FAMILY_NAME = {4: "ipv4", 6: "ipv6"}


def map_name(shape: Shape) -> str:
    plane = f"_p{shape.plane}" if shape.plane else ""
    room = f"_{shape.room}" if shape.room else ""
    return f"v{shape.version}_{shape.length}{plane}{room}"


def shape_of(name: str) -> Shape | None:
    """That of a map with this name; None if `map_name` gave it to none."""
    found = MAP_NAME.fullmatch(name)
    if found is None:
        return None
    version, length, plane, room = (int(number or 0) for number in found.groups())
    return Shape(version, plane, length, room)


def lookups(acceptance: Acceptance) -> list[str]:
    return [lookup(shape) for shape in _order(acceptance.shapes)]


def marking(acceptance: Acceptance, condition4: str = "") -> list[str]:
    """Lookups of which the first that matches decides: the last plane's most specific."""
    shapes = sorted(acceptance.shapes, key=lambda s: (s.version, -s.plane, -s.length))
    rules = [(condition4 if s.version == 4 else "") + lookup(s) for s in shapes]
    return [*(f"{rule} accept" for rule in rules[:-1]), rules[-1]]


def lookup(shape: Shape) -> str:
    """Matches, and sets the mark, if the destination is in the map."""
    key = f"{PROTOCOL_NAME[shape.version]} daddr"
    return f"meta mark set {masked(key, shape)} map @{map_name(shape)}"


def masked(key: str, shape: Shape) -> str:
    if shape.length == BITS[shape.version]:
        return key
    network = IPv4Network if shape.version == 4 else IPv6Network
    return f"{key} & {network((0, shape.length)).netmask}"


def guard(acceptance: Acceptance) -> Chains:
    """What is still for a VIP just behind IPVS (LOCAL_IN, 98 and 99), IPVS did not take."""
    return {
        **refusal(acceptance),
        "after_ipvs": (
            "filter hook input priority 100",
            [f"{marks(acceptance.services)} jump still_vip"],
        ),
    }


def refusal(acceptance: Acceptance) -> Chains:
    """`still_vip` refuses packets for VIPs and returns the others."""
    return {
        "leftover": ("", _leftover(acceptance.services)),
        "still_vip": ("", [f"{line} goto leftover" for line in lookups(acceptance)]),
    }


def _leftover(services: Iterable[Service]) -> list[str]:
    dropped = [s for s in services if s.leftover is Leftover.DROP]
    quiet = [f"{marks(dropped)} drop"] if dropped else []
    return [*quiet, "meta l4proto tcp reject with tcp reset", "reject with icmpx port-unreachable"]


def pings_redirected(services: Iterable[Service]) -> Chains:
    """Echo requests of services with ping go to the director itself."""
    pinged = [s for s in services if s.ping]
    if not pinged:
        return {}
    rules = [f"{marks(pinged)} {kind} type echo-request redirect" for kind in ("icmp", "icmpv6")]
    return {"ping": ("nat hook prerouting priority dstnat", rules)}


def checks_before_ipvs(acceptance: Acceptance) -> Chains:
    """All ICMP passes: errors must reach IPVS, and what it does not take meets the guard."""
    checked = [s for s in acceptance.services if s.ports or _idle(s, acceptance)]
    if not checked:
        return {}
    return {
        "served": ("", _served(acceptance, checked)),
        "check": ("", _check(acceptance, checked)),
        "before_ipvs": ("filter hook input priority 97", [f"{marks(checked)} jump check"]),
    }


def _check(acceptance: Acceptance, checked: list[Service]) -> list[str]:
    """Whose port is it? Where services share addresses, each plane's mark is tried in turn."""
    rules = ["meta l4proto { icmp, ipv6-icmp } return"]
    if free := [s for s in checked if not s.ports]:
        rules.append(f"{marks(free)} goto served")
    ports = [f"{s.fwmark:#x} . {p.protocol} . {p.number}" for s in checked for p in s.ports]
    if not ports:
        return rules
    its_port = f"meta mark . meta l4proto . th dport {words(ports)} goto served"
    rules.append(its_port)
    if len({shape.plane for shape in acceptance.shapes}) > 1:
        for _, shapes in groupby(_order(acceptance.shapes), key=lambda s: s.plane):
            rules += [*map(lookup, shapes), its_port]
    return [*rules, "goto still_vip"]


def _served(acceptance: Acceptance, checked: list[Service]) -> list[str]:
    """Refuses at once what no real server could answer."""
    idle = [
        f"{FAMILY_NAME[version]} . {s.fwmark:#x}"
        for s in checked
        for version in _idle(s, acceptance)
    ]
    return [f"meta nfproto . meta mark {words(idle)} goto still_vip"] if idle else []


def _idle(service: Service, acceptance: Acceptance) -> list[int]:
    """No packet is for VIPs of a version that has none."""
    return [version for version in idle_versions(service) if acceptance.has(version)]


def marks(services: Iterable[Service]) -> str:
    return f"meta mark {words(f'{s.fwmark:#x}' for s in services)}"


def words(items: Iterable[str]) -> str:
    return "{ " + ", ".join(items) + " }"


def _order(shapes: Iterable[Shape]) -> list[Shape]:
    return sorted(shapes, key=lambda shape: (shape.plane, shape.version, shape.length))
