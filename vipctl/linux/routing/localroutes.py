"""Local routes, one or a million: hand-packed messages, thousands to a system call.

A million VIPs are routes of type `local` to `lo` in table `local`, with our protocol number and a
priority of their own, so that the kernel's route of an address that the director owns comes first.
"""

import _socket as socket  # imported faster: `socket` makes enumerations of its constants
import errno
import struct
from collections.abc import Iterator, Mapping

from vipctl.addresses import spans
from vipctl.addresses.few import BITS, WIDTH
from vipctl.addresses.prefixes import AF, VERSIONS, IPAddress, address, network
from vipctl.errors import KernelError
from vipctl.linux import dumps, netlink
from vipctl.linux.netlink import NLM_F_CREATE, NLM_F_REPLACE, attribute
from vipctl.services.change import Entry, Shape
from vipctl.services.methods import LOCAL_ROUTES

Routes = Mapping[Shape, bytes]  # packed addresses; the priority tells the plane

PROTOCOL = 118  # unassigned in /etc/iproute2/rt_protos and in include/uapi/linux/rtnetlink.h
CHUNK = 10_000  # messages that one system call sends and one acknowledgement answers

# include/uapi/linux/rtnetlink.h
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_F_FIB_MATCH = 0x2000
RTN_LOCAL, RT_TABLE_LOCAL = 2, 255
RT_SCOPE = {4: 254, 6: 0}  # host; IPv6 has no scopes
RTA_DST, RTA_OIF, RTA_PRIORITY, RTA_TABLE = 1, 4, 6, 15
OF_ANY_ROUTE = {RTA_DST, RTA_OIF, RTA_PRIORITY, 12, RTA_TABLE, 20}  # RTA_CACHEINFO, RTA_PREF
DEFAULT_PRIORITY = {4: 0, 6: 1}  # the best there is: it precedes all others of the same table
LOOPBACK = netlink.NUMBER.pack(1)  # LOOPBACK_IFINDEX of include/net/flow.h
ROUTE = struct.Struct("=BBBBBBBBI")  # family, lengths, tos, table, protocol, scope, type, flags
LENGTH_AT, TOS_AT = 1, 3
ADDRESS_AT = ROUTE.size + len(attribute(RTA_TABLE, bytes(4))) + netlink.ATTRIBUTE.size


def add(routes: Routes) -> None:
    """Adding a route that exists is no error. Raises KernelError naming the first that fails."""
    _change(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, routes)


def delete(routes: Routes) -> None:
    """Deleting a route that does not exist is no error. Raises KernelError."""
    _change(RTM_DELROUTE, 0, routes)


def without(some: Routes, others: Routes) -> Routes:
    return {
        shape: spans.records_without(WIDTH[shape.version], addresses, others.get(shape, b""))
        for shape, addresses in some.items()
    }


def are(some: Routes, others: Routes) -> bool:
    """Whether they are the same."""
    return not any((*without(some, others).values(), *without(others, some).values()))


def read() -> Routes:
    """All routes of ours in table `local`: slow if there are many.

    The destination is at a fixed offset in each message. Messages that differ in it alone are
    parsed once.
    """
    found: dict[Shape, bytearray] = {}
    for version in VERSIONS:
        known, width = dict[bytes, Shape | None](), WIDTH[version]
        head, end = attribute(RTA_DST, bytes(width))[:-width], ADDRESS_AT + width
        for content in _dump(version, RT_TABLE_LOCAL, RTN_LOCAL):
            if content[ADDRESS_AT - len(head) : ADDRESS_AT] != head:
                continue  # a default route: no VIP is there
            form = content[:ADDRESS_AT] + content[end:]
            if form not in known:
                known[form] = _shape(version, content)
            if shape := known[form]:
                found.setdefault(shape, bytearray()).extend(content[ADDRESS_AT:end])
    return {shape: bytes(addresses) for shape, addresses in found.items()}


def _shape(version: int, content: bytes) -> Shape | None:
    """The shape of a prefix that a route is for; None if vipctl would not make such a route."""
    attributes = dict(netlink.attributes(content, ROUTE.size))
    priority = _priority(attributes)
    if priority < LOCAL_ROUTES or not _is_plain(content, attributes):
        return None
    return Shape(version, priority - LOCAL_ROUTES, content[LENGTH_AT])


def ours(version: int, table: int) -> Iterator[bytes]:
    """All routes in a table with our protocol number, as the kernel's messages say them."""
    for content in _dump(version, table, 0):
        *header, _ = ROUTE.unpack_from(content)
        # Without the flags, which are the kernel's own.
        yield ROUTE.pack(*header, 0) + content[ROUTE.size :]


def is_default(version: int, content: bytes) -> bool:
    """Whether it is `local default dev lo`, as `default` makes it."""
    _, length, _, _, _, _, _, kind, _ = ROUTE.unpack_from(content)
    attributes = dict(netlink.attributes(content, ROUTE.size))
    usual = kind, length, _priority(attributes)
    return usual == (RTN_LOCAL, 0, DEFAULT_PRIORITY[version]) and _is_plain(content, attributes)


def _is_plain(content: bytes, attributes: Mapping[int, bytes]) -> bool:
    """Whether it leads to `lo`, and nobody added anything."""
    tos = content[TOS_AT]
    return not tos and attributes.get(RTA_OIF) == LOOPBACK and attributes.keys() <= OF_ANY_ROUTE


def _priority(attributes: Mapping[int, bytes]) -> int:
    return int(netlink.NUMBER.unpack(attributes.get(RTA_PRIORITY, bytes(4)))[0])


def present(prefix: Entry) -> bool:
    """Whether there is a local route for the prefix, by the best routes to both of its ends.

    A more specific route, of another plane or of an address of the director, may hide it there, and
    is taken for it.
    """
    version, length = prefix.shape.version, prefix.shape.length
    ends = {prefix.start, prefix.start + (1 << BITS[version] - length) - 1}
    with netlink.connect() as link:
        return all(_leads_to(link, address(version, end), length) for end in ends)


def _leads_to(link: netlink.Link, where: IPAddress, length: int) -> bool:
    found, kind = _best(link, where)
    return (found, kind) == (length, RTN_LOCAL) or found > length


def best_length(link: netlink.Link, where: IPAddress) -> int:
    """Prefix length of the kernel's route to an address: 0 for a default route, -1 for none."""
    return _best(link, where)[0]


def _best(link: netlink.Link, where: IPAddress) -> tuple[int, int]:
    """Length and type of the kernel's route to an address; (-1, 0) if there is none."""
    route = ROUTE.pack(AF[where.version], BITS[where.version], *[0] * 6, RTM_F_FIB_MATCH)
    answer = netlink.ask(link, RTM_GETROUTE, 0, route + attribute(RTA_DST, where.packed))
    if answer.kind != RTM_NEWROUTE:
        return -1, 0
    _, length, _, _, _, _, _, kind, _ = ROUTE.unpack_from(answer.content)  # the table may be wrong
    return length, kind


def default(version: int, table: int) -> bytes:
    """The route that makes everything local, in a table of ours.

    An IPv4 route that is added comes before those of its priority; for IPv6, none means 1024.
    """
    where = 0, PROTOCOL, RT_SCOPE[version], RTN_LOCAL
    numbers = {RTA_OIF: socket.if_nametoindex("lo"), RTA_TABLE: table}
    numbers[RTA_PRIORITY] = DEFAULT_PRIORITY[version]
    parts = (attribute(kind, netlink.NUMBER.pack(value)) for kind, value in numbers.items())
    return ROUTE.pack(AF[version], 0, 0, 0, *where, 0) + b"".join(parts)


def _change(kind: int, flags: int, routes: Routes) -> None:
    with netlink.connect() as link:
        netlink.sign(link)
        loopback = attribute(RTA_OIF, netlink.NUMBER.pack(socket.if_nametoindex("lo")))
        for shape, addresses in sorted(routes.items()):
            size = CHUNK * WIDTH[shape.version]
            for at in range(0, len(addresses), size):
                messages = _packed(kind, flags, loopback, shape, addresses[at : at + size])
                netlink.send(link, messages)
                for failure in netlink.failures(link):
                    if failure.failure() != errno.ESRCH:
                        raise _refused(failure)


def _packed(kind: int, flags: int, loopback: bytes, shape: Shape, addresses: bytes) -> bytes:
    """A message for each address, the last with a request for an acknowledgement."""
    width = WIDTH[shape.version]
    priority = attribute(RTA_PRIORITY, netlink.NUMBER.pack(LOCAL_ROUTES + shape.plane))
    where = RT_TABLE_LOCAL, PROTOCOL, RT_SCOPE[shape.version], RTN_LOCAL
    route = ROUTE.pack(AF[shape.version], shape.length, 0, 0, *where, 0)
    destination = attribute(RTA_DST, bytes(width))
    message = netlink.pack(kind, flags, route + loopback + priority + destination)
    messages = spans.records(message, len(message) - width, width, addresses)
    last = len(messages) - len(message)
    return messages[:last] + netlink.acknowledging(messages[last:])


def _refused(failure: netlink.Message) -> KernelError:
    """Names the route, which is in the error: that repeats the message."""
    at = netlink.CODE.size + netlink.HEADER.size
    family, length, *_ = ROUTE.unpack_from(failure.content, at)
    version = 6 if family == socket.AF_INET6 else 4
    start = int.from_bytes(_destination(failure.content, at))
    return netlink.refusal(
        f"local route to {network(version, start, length)}",
        failure.failure(),
        "is the interface lo up? See what is there: ip route show table local",
    )


def _dump(version: int, table: int, kind: int) -> Iterator[bytes]:
    """Our routes of a type in a table, or of all types."""
    wanted = ROUTE.pack(AF[version], 0, 0, 0, 0, PROTOCOL, 0, kind, 0)
    request = wanted + attribute(RTA_TABLE, netlink.NUMBER.pack(table))
    with netlink.connect() as link:
        for content in dumps.dump(link, RTM_GETROUTE, request):
            family, _, _, _, _, protocol, _, found, _ = ROUTE.unpack_from(content)
            # A kernel without IPv6 answers a request for IPv6 with the routes of all families.
            if (family, protocol) == (AF[version], PROTOCOL) and found in (kind or found,):
                yield content


def _destination(content: bytes, at: int) -> bytes:
    return dict(netlink.attributes(content, at + ROUTE.size)).get(RTA_DST, b"")
