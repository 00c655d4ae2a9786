"""Maps, rules and chains that the nftables tables of several methods are made of. Pure.

lookup        destination → fwmark of its service; one hash map per prefix length
still_vip     the lookups again: others may set marks too, so no mark is trusted alone
ports         checks the port of packets for services that name ports
leftover      refuses or drops
passive       drops what is for services that are passive by themselves
local_out     marks what the director itself sends to a VIP

A packet for a port that no service names only loses its mark: then IPVS begins no connection, but
finds those that it has (FTP's data, ports that a service had before). The guard refuses what IPVS
does not take.

A map of fixed size is filled, and looked up, faster than one that grows. Its name says its room
(v4_32_1024). When its prefixes become too many, all move to a larger map: see `acceptance`.
"""

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network
from itertools import groupby

from vipctl.addresses.few import BITS
from vipctl.services.change import Acceptance, Shape
from vipctl.services.service import Service, idle_versions
from vipctl.services.values import Leftover

Chains = dict[str, tuple[str, list[str]]]  # each after those that it jumps to: (hook, rules)
KEPT = 4  # cached rulesets: a command needs those of the states before, between and after
PROTOCOL_NAME = {4: "ip", 6: "ip6"}
MAP_NAME = r"v([46])_(\d+)(?:_p(\d+))?(?:_(\d+))?"
ACCEPTED, LEFT_OVER, REFUSED = KINDS = "accepted", "left_over", "refused"  # kinds of counters
COUNTER_NAME = rf"({'|'.join(KINDS)})_0x([0-9a-f]{{1,8}})"
FAMILY_NAME = {4: "ipv4", 6: "ipv6"}
NEIGHBOURS = "icmpv6 type 135-136 accept"  # an address of the director that is a VIP needs them
ICMP, NO_ICMP = (f"meta l4proto {word}{{ icmp, ipv6-icmp }}" for word in ("", "!= "))


def map_name(shape: Shape) -> str:
    plane = f"_p{shape.plane}" if shape.plane else ""
    room = f"_{shape.room}" if shape.room else ""
    return f"v{shape.version}_{shape.length}{plane}{room}"


def shape_of(name: str) -> Shape | None:
    """The shape whose map has this name; None if `map_name` makes no such name."""
    found = re.fullmatch(MAP_NAME, name)
    if found is None:
        return None
    version, length, plane, room = (int(number or 0) for number in found.groups())
    return Shape(version, plane, length, room)


def lookups(acceptance: Acceptance) -> list[str]:
    return [lookup(shape) for shape in _order(acceptance.shapes)]


def marking(acceptance: Acceptance, condition4: str = "") -> list[str]:
    """The lookups; the first match decides: the highest plane first, in it the longest prefix."""
    shapes = sorted(acceptance.shapes, key=lambda s: (s.version, -s.plane, -s.length))
    rules = [(condition4 if s.version == 4 else "") + lookup(s) for s in shapes]
    return [*(f"{rule} accept" for rule in rules[:-1]), rules[-1]]


def counting(kind: str, services: Iterable[Service]) -> str:
    """Counts a packet for the service whose mark it has."""
    named = (f'{s.fwmark:#x} : "{counter_name(kind, s.fwmark)}"' for s in services)
    return f"counter name meta mark map {words(named)}"


def counter_name(kind: str, mark: int) -> str:
    return f"{kind}_{mark:#x}"


def counter_of(name: str) -> tuple[str, int] | None:
    """The kind and the mark of a counter; None if `counter_name` makes no such name."""
    found = re.fullmatch(COUNTER_NAME, name)
    return (found[1], int(found[2], 16)) if found else None


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
    """Refuses what is still for a VIP behind IPVS (LOCAL_IN, 98 and 99): IPVS did not take it."""
    found = marks(acceptance.services, unmarked=bool(_ported(acceptance)))
    return {
        **refusal(acceptance),
        "after_ipvs": ("filter hook input priority 100", [f"{found} jump still_vip"]),
    }


def refusal(acceptance: Acceptance) -> Chains:
    """`still_vip` refuses packets for VIPs and returns the others."""
    return {
        "leftover": ("", _leftover(acceptance)),
        "still_vip": ("", [f"{line} goto leftover" for line in lookups(acceptance)]),
    }


def _leftover(acceptance: Acceptance) -> list[str]:
    services, passive = acceptance.services, acceptance.passive
    dropped = [s for s in services if s.leftover is Leftover.DROP or s.fwmark in passive]
    quiet = [f"{marks(dropped)} drop"] if dropped else []
    neighbours = [NEIGHBOURS] if any(s.version == 6 for s in acceptance.shapes) else []
    return [
        *neighbours,
        counting(LEFT_OVER, services),
        *quiet,
        "meta l4proto tcp reject with tcp reset",
        "reject with icmpx port-unreachable",
    ]


def pings_redirected(acceptance: Acceptance, *first: str) -> Chains:
    """Echo requests of services with ping go to the director itself."""
    pinged = acceptance.answering_pings()
    if not pinged:
        return {}
    rules = [f"{NO_ICMP} return", *first, *lookups(acceptance)]
    rules += [f"{marks(pinged)} {kind} type echo-request redirect" for kind in ("icmp", "icmpv6")]
    return {"ping": ("nat hook prerouting priority dstnat", rules)}


def checks_before_ipvs(acceptance: Acceptance) -> Chains:
    """Checks ports, and refuses what has no real server. All ICMP passes: IPVS needs errors."""
    ported, passive = _ported(acceptance), acceptance.passive_services()
    rules = [*_to_ports(ported), *_to_passive(passive), *_refusing_idle(acceptance)]
    if not rules:
        return {}
    return {
        **({"passive": ("", [f"{line} drop" for line in lookups(acceptance)])} if passive else {}),
        **({"ports": ("", _ports(acceptance, ported))} if ported else {}),
        "before_ipvs": ("filter hook input priority 97", rules),
    }


def sent_by_director(acceptance: Acceptance, *first: str) -> Chains:
    """Marks what the director itself sends to VIPs: IPVS looks at LOCAL_OUT (-99) too.

    Others' marks stay. The chain jumps to `ports`, so it comes after `checks_before_ipvs`.
    """
    rules = [*first, "meta mark != 0 accept", *lookups(acceptance)]
    rules += _to_ports(_ported(acceptance))
    return {"local_out": ("filter hook output priority mangle", rules)}


def _ported(acceptance: Acceptance) -> list[Service]:
    return [s for s in acceptance.services if s.ports]


def _to_ports(ported: list[Service]) -> list[str]:
    return [f"{marks(ported)} jump ports"] if ported else []


def _to_passive(passive: list[Service]) -> list[str]:
    return [f"{NO_ICMP} {marks(passive)} jump passive"] if passive else []


def _ports(acceptance: Acceptance, ported: list[Service]) -> list[str]:
    """Finds the service of the port. If services share addresses, it tries each plane's mark."""
    returning = list(_returning(ported))
    rules = [f"{ICMP} return", *returning]
    if len({shape.plane for shape in acceptance.shapes}) > 1:
        for _, shapes in groupby(_order(acceptance.shapes), key=lambda s: s.plane):
            rules += [*map(lookup, shapes), *returning]
    return [*rules, "meta mark set 0"]


def _returning(ported: list[Service]) -> Iterator[str]:
    """One lookup for the ports of all services; Linux 6.12 takes no ranges in such a set."""
    single = [
        f"{s.fwmark:#x} . {p.protocol} . {p.number}" for s in ported for p in s.ports if not p.last
    ]
    if single:
        yield f"meta mark . meta l4proto . th dport {words(single)} return"
    for service in ported:
        ranges = [port for port in service.ports if port.last]
        for protocol, some in groupby(ranges, key=lambda port: port.protocol):
            numbers = words(port.text for port in some)
            yield f"meta mark {service.fwmark:#x} {protocol} dport {numbers} return"


def _refusing_idle(acceptance: Acceptance) -> list[str]:
    """Refuses at once what no real server could answer."""
    idle = [
        f"{FAMILY_NAME[version]} . {s.fwmark:#x}"
        for s in acceptance.services
        for version in _idle(s, acceptance)
    ]
    return [f"{NO_ICMP} meta nfproto . meta mark {words(idle)} goto still_vip"] if idle else []


def _idle(service: Service, acceptance: Acceptance) -> list[int]:
    """IP versions of which the service has no real server, and the acceptance has VIPs."""
    return [version for version in idle_versions(service) if acceptance.has(version)]


def marks(services: Iterable[Service], *, unmarked: bool = False) -> str:
    found = [f"{s.fwmark:#x}" for s in services]
    return f"meta mark {words([*found, '0x0'] if unmarked else found)}"


def words(items: Iterable[str]) -> str:
    return "{ " + ", ".join(items) + " }"


def _order(shapes: Iterable[Shape]) -> list[Shape]:
    return sorted(shapes, key=lambda shape: (shape.plane, shape.version, shape.length))
