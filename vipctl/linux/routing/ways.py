"""The director's own addresses, its default routes, and the route that a packet would take.

Numbers are from include/uapi/linux/rtnetlink.h unless said.
"""

import _socket as socket  # imported faster: `socket` makes enumerations of its constants
import struct
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import NamedTuple

from vipctl.addresses.few import BITS
from vipctl.addresses.prefixes import AF, IPAddress
from vipctl.linux import dumps, netlink
from vipctl.linux.netlink import NUMBER, attribute
from vipctl.linux.routing import rules
from vipctl.linux.routing.localroutes import (
    PROTOCOL,
    ROUTE,
    RT_TABLE_LOCAL,
    RTA_DST,
    RTA_OIF,
    RTA_TABLE,
    RTM_F_FIB_MATCH,
    RTM_GETROUTE,
    RTM_NEWROUTE,
)
from vipctl.services.values import Port

RTM_GETADDR, RTM_GETNEXTHOP = 22, 106
RTM_F_LOOKUP_TABLE = 0x1000
RTPROT_RA = 9
RTN_UNICAST = 1
RTA_SRC, RTA_IIF, RTA_GATEWAY, RTA_MULTIPATH, RTA_MARK, RTA_VIA, RTA_NH_ID = 2, 3, 5, 9, 16, 18, 30
RTA_IP_PROTO, RTA_DPORT = 27, 29
PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}  # that may be asked for
IFA_ADDRESS, IFA_LOCAL = 1, 2  # include/uapi/linux/if_addr.h
ADDRESS = struct.Struct("=BBBBI")  # family, length, flags, scope, interface
NEXT_HOP = struct.Struct("=HBBI")  # struct rtnexthop: length, flags, hops, interface
NHA_ID, NHA_GROUP, NHA_OIF, NHA_GATEWAY = 1, 2, 5, 6  # include/uapi/linux/nexthop.h
NEXT_HOP_OBJECT = struct.Struct("=BBBBI")  # struct nhmsg
MEMBER = struct.Struct("=IBBH")  # struct nexthop_grp

Attributes = Mapping[int, bytes]
Table = tuple[int, int]  # IP version and table; 0: all tables, for a VRF's is not known


class Own(NamedTuple):
    """An address of the director."""

    device: int
    address: IPAddress
    length: int  # of the network that is connected by it


class Hop(NamedTuple):
    """Where a default route leads; `gateway` is None if all addresses are on the link."""

    version: int
    device: int
    gateway: IPAddress | None


class Packet(NamedTuple):
    """An imagined packet, to ask the kernel for its route."""

    client: IPAddress
    device: int
    vip: IPAddress
    mark: int
    port: Port


class Way(NamedTuple):
    """What routing would do with a packet: the type of the route and its table, or an errno."""

    kind: int = 0
    table: int = 0
    failure: int = 0


def name_of(device: int) -> str:
    """The name of an interface; of one that has just gone, its number."""
    try:
        return socket.if_indextoname(device)
    except OSError:
        return str(device)


def own() -> list[Own]:
    """Every address on an interface of the director.

    If others change addresses all the time, some that it had a moment ago may be among them.
    """
    request = ADDRESS.pack(0, 0, 0, 0, 0)
    with netlink.connect() as link:
        dumped = dumps.staying(lambda: dumps.once(link, RTM_GETADDR, request))
    return list(dict.fromkeys(found for content in dumped for found in _own(content)))


def _own(content: bytes) -> Iterator[Own]:
    _, length, _, _, device = ADDRESS.unpack_from(content)
    found = dict(netlink.attributes(content, ADDRESS.size))
    if packed := found.get(IFA_LOCAL) or found.get(IFA_ADDRESS):
        yield Own(device, ip_address(packed), length)


def addresses() -> set[IPAddress]:
    return {found.address for found in own()}


def gateways() -> set[IPAddress]:
    return {hop.gateway for hop in defaults(tables_of(rules.read())) if hop.gateway}


def tables_of(present: Iterable[rules.Rule]) -> set[Table]:
    """The tables that others' rules lead to, without table `local`."""
    return {
        (rule.version, rule.table)
        for rule in present
        if rule.l3mdev() or (rule.table not in (0, RT_TABLE_LOCAL) and rule.protocol != PROTOCOL)
    }


def defaults(tables: Iterable[Table]) -> set[Hop]:
    """The next hops of all default routes there."""
    return {hop for version, table in tables for hop in _hops_of_defaults(version, table)}


def _hops_of_defaults(version: int, table: int) -> Iterator[Hop]:
    routes = list(_defaults(version, table))
    if not routes:
        return
    with netlink.connect() as link:
        for route in routes:
            yield from _hops(link, version, route)


def _defaults(version: int, table: int) -> Iterator[Attributes]:
    """The default routes of a table. A dump has those of IPv4 first, those of IPv6 last."""
    request = ROUTE.pack(AF[version], 0, 0, 0, 0, 0, 0, RTN_UNICAST, 0)
    request += attribute(RTA_TABLE, NUMBER.pack(table)) if table else b""
    read = dumps.beginning if version == 4 and table else dumps.dump
    with netlink.connect() as link:
        for content in read(link, RTM_GETROUTE, request):
            family, length, *_, kind, _ = ROUTE.unpack_from(content)
            if (family, length, kind) == (AF[version], 0, RTN_UNICAST):
                yield dict(netlink.attributes(content, ROUTE.size))
            elif version == 4 and table and _behind_defaults(content):
                return


def _behind_defaults(content: bytes) -> bool:
    """Whether the dump is past 0.0.0.0, where default routes (and 0.0.0.0/8) are."""
    return any(dict(netlink.attributes(content, ROUTE.size)).get(RTA_DST, b""))


def _hops(link: netlink.Link, version: int, route: Attributes) -> Iterator[Hop]:
    if RTA_NH_ID in route and not route.keys() & {RTA_OIF, RTA_MULTIPATH}:
        yield from _hops_of_object(link, version, route[RTA_NH_ID])
    elif packed := route.get(RTA_MULTIPATH):
        yield from _hops_of_many(version, packed)
    elif device := route.get(RTA_OIF):
        yield Hop(version, _number(device), _gateway(route))


def _hops_of_many(version: int, packed: bytes) -> Iterator[Hop]:
    while packed:
        size, _, _, device = NEXT_HOP.unpack_from(packed)
        found = dict(netlink.attributes(packed[:size], NEXT_HOP.size))
        yield Hop(version, device, _gateway(found))
        packed = packed[(size + 3) & ~3 :]


def _hops_of_object(link: netlink.Link, version: int, number: bytes) -> Iterator[Hop]:
    """For routes that name only a next-hop object (net.ipv4.nexthop_compat_mode=0)."""
    request = NEXT_HOP_OBJECT.pack(0, 0, 0, 0, 0) + attribute(NHA_ID, number)
    answer = netlink.ask(link, RTM_GETNEXTHOP, 0, request)
    if answer.failure():
        return
    found = dict(netlink.attributes(answer.content, NEXT_HOP_OBJECT.size))
    for member, *_ in MEMBER.iter_unpack(found.get(NHA_GROUP, b"")):
        yield from _hops_of_object(link, version, NUMBER.pack(member))
    if device := found.get(NHA_OIF):
        gateway = found.get(NHA_GATEWAY)
        yield Hop(version, _number(device), ip_address(gateway) if gateway else None)


def _gateway(found: Attributes) -> IPAddress | None:
    """A gateway of the route's family, or one `via inet6`, whose attribute begins with a family."""
    packed = found.get(RTA_GATEWAY) or found.get(RTA_VIA, b"")[2:]
    return ip_address(packed) if packed else None


def _number(packed: bytes) -> int:
    return int(NUMBER.unpack(packed)[0])


def taken_by(link: netlink.Link, packet: Packet) -> Way:
    """The kernel's answer, from its rules, its tables and its validation of the source."""
    version = packet.vip.version
    bits, flags = BITS[version], RTM_F_LOOKUP_TABLE if version == 4 else 0
    numbers = {RTA_IIF: packet.device, RTA_MARK: packet.mark}
    parts = [attribute(RTA_DST, packet.vip.packed), attribute(RTA_SRC, packet.client.packed)]
    parts += [attribute(kind, NUMBER.pack(n)) for kind, n in numbers.items()]
    if packet.port.protocol in PROTOCOLS:
        parts += [attribute(RTA_IP_PROTO, bytes([PROTOCOLS[packet.port.protocol]]))]
        parts += [attribute(RTA_DPORT, struct.pack(">H", packet.port.number))]
    request = ROUTE.pack(AF[version], bits, bits, 0, 0, 0, 0, 0, flags) + b"".join(parts)
    answer = netlink.ask(link, RTM_GETROUTE, 0, request)
    if answer.failure():
        return Way(failure=answer.failure())
    *_, kind, _ = ROUTE.unpack_from(answer.content)
    found = dict(netlink.attributes(answer.content, ROUTE.size))
    return Way(kind, _number(found[RTA_TABLE]))


def advertised() -> set[str]:
    """Interfaces with a default route that the kernel learned from a router advertisement."""
    request = ROUTE.pack(AF[6], 0, 0, 0, 0, RTPROT_RA, 0, 0, 0)
    with netlink.connect() as link:
        found = [
            dict(netlink.attributes(content, ROUTE.size))
            for content in dumps.dump(link, RTM_GETROUTE, request)
            if not content[1]  # the length of its destination
        ]
    return {socket.if_indextoname(_number(route[RTA_OIF])) for route in found}


def leads_back(where: IPAddress, device: int) -> bool:
    """Whether the kernel's route to an address leads by a device; by IPv6, whether any does."""
    if where.version == 4:
        return device_to(where) == device
    content = _answer_to(where, device=device)
    return content is not None and int(ROUTE.unpack_from(content)[-2]) == RTN_UNICAST


def length_to(where: IPAddress) -> int:
    """The length of the prefix of the kernel's route to an address; 0 if there is no route."""
    content = _answer_to(where, RTM_F_FIB_MATCH)
    return 0 if content is None else int(ROUTE.unpack_from(content)[1])


def gateway_to(where: IPAddress) -> IPAddress | None:
    """The gateway of the kernel's route to an address; None if there is no gateway, or no route."""
    return _gateway(_route_to(where))


def device_to(where: IPAddress) -> int | None:
    device = _route_to(where).get(RTA_OIF)
    return _number(device) if device else None


def kind_to(where: IPAddress) -> int | None:
    """The type of the kernel's route to an address, RTN_…; None if there is no route."""
    content = _answer_to(where)
    return None if content is None else int(ROUTE.unpack_from(content)[-2])


def _route_to(where: IPAddress) -> Attributes:
    content = _answer_to(where)
    return {} if content is None else dict(netlink.attributes(content, ROUTE.size))


def _answer_to(where: IPAddress, flags: int = 0, device: int = 0) -> bytes | None:
    version = where.version
    request = ROUTE.pack(AF[version], BITS[version], 0, 0, 0, 0, 0, 0, flags)
    request += attribute(RTA_DST, where.packed)
    request += attribute(RTA_OIF, NUMBER.pack(device)) if device else b""
    with netlink.connect() as link:
        answer = netlink.ask(link, RTM_GETROUTE, 0, request)
    return answer.content if answer.kind == RTM_NEWROUTE else None
