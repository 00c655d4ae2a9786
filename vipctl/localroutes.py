"""Local routes, one or a million: hand-packed messages, thousands to a system call.

A million VIPs are routes of type `local` to `lo` in table `local`, with our protocol number and a
priority of their own, so that the kernel's route of an address that the director owns comes first.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator, Mapping

from vipctl import netlink, spans
from vipctl.errors import KernelError
from vipctl.model import Entry, Shape
from vipctl.netlink import NLM_F_CREATE, NLM_F_REPLACE, attribute
from vipctl.prefixes import FAMILY, VERSIONS, IPAddress, address, network
from vipctl.spans import BITS, WIDTH

Routes = Mapping[Shape, bytes]  # packed addresses; each plane has its own, told by priority

PROTOCOL = 118  # unassigned in /etc/iproute2/rt_protos and in include/uapi/linux/rtnetlink.h
PRIORITY = 30320
CHUNK = 10_000  # messages that one system call sends and one acknowledgement answers

# include/uapi/linux/rtnetlink.h
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_F_FIB_MATCH = 0x2000
RTN_LOCAL, RT_TABLE_LOCAL = 2, 255
RT_SCOPE = {4: 254, 6: 0}  # host; IPv6 has no scopes
RTA_DST, RTA_OIF, RTA_PRIORITY, RTA_TABLE = 1, 4, 6, 15
ROUTE = struct.Struct("=BBBBBBBBI")  # family, lengths, tos, table, protocol, scope, type, flags


def add(routes: Routes) -> None:
    """Those that are there already stay. Raises KernelError naming the first that fails."""
    _change(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, routes)


def delete(routes: Routes) -> None:
    """Those that are gone already are no error."""
    _change(RTM_DELROUTE, 0, routes)


def without(some: Routes, others: Routes) -> Routes:
    return {
        shape: spans.without(WIDTH[shape.version], addresses, others.get(shape, b""))
        for shape, addresses in some.items()
    }


def are(some: Routes, others: Routes) -> bool:
    """Whether they are the same."""
    return not any((*without(some, others).values(), *without(others, some).values()))


def read() -> Routes:
    """All that are ours in table `local`. Slow where there are many."""
    found: dict[Shape, bytearray] = {}
    for version in VERSIONS:
        for start, length, priority in _dump(version, RT_TABLE_LOCAL):
            if priority >= PRIORITY:
                shape = Shape(version, priority - PRIORITY, length)
                found.setdefault(shape, bytearray()).extend(start)
    return {shape: bytes(addresses) for shape, addresses in found.items()}


def has_default(version: int, table: int) -> bool:
    """Whether everything is local in a table of ours."""
    return any(length == 0 for _, length, _ in _dump(version, table))


def present(prefix: Entry) -> bool:
    """Whether it is a local route, as far as the kernel's best one to both of its ends tells.

    A longer one, of another plane or of an address that the director owns, may hide it there.
    """
    version, length = prefix.shape.version, prefix.shape.length
    ends = {prefix.start, prefix.start + (1 << BITS[version] - length) - 1}
    with netlink.connect() as link:
        return all(_leads_to(link, address(version, end), length) for end in ends)


def _leads_to(link: socket.socket, where: IPAddress, length: int) -> bool:
    answer = netlink.ask(link, RTM_GETROUTE, 0, asking(where.version, where))
    if answer.kind != RTM_NEWROUTE:
        return False
    _, found, _, _, _, _, _, kind, _ = ROUTE.unpack_from(answer.content)  # the table may be wrong
    return (found, kind) == (length, RTN_LOCAL) or int(found) > length


def asking(version: int, where: IPAddress) -> bytes:
    """Which route the kernel takes to an address."""
    route = ROUTE.pack(FAMILY[version], BITS[version], 0, 0, 0, 0, 0, 0, RTM_F_FIB_MATCH)
    return route + attribute(RTA_DST, where.packed)


def default(version: int, table: int) -> bytes:
    """The route that makes everything local, in a table of ours."""
    where = 0, PROTOCOL, RT_SCOPE[version], RTN_LOCAL
    numbers = {RTA_OIF: socket.if_nametoindex("lo"), RTA_TABLE: table}
    parts = (attribute(kind, netlink.NUMBER.pack(value)) for kind, value in numbers.items())
    return ROUTE.pack(FAMILY[version], 0, 0, 0, *where, 0) + b"".join(parts)


def _change(kind: int, flags: int, routes: Routes) -> None:
    with netlink.connect() as link:
        loopback = attribute(RTA_OIF, netlink.NUMBER.pack(socket.if_nametoindex("lo")))
        for shape, addresses in sorted(routes.items()):
            size = CHUNK * WIDTH[shape.version]
            for at in range(0, len(addresses), size):
                messages = _packed(kind, flags, loopback, shape, addresses[at : at + size])
                netlink.send(link, messages)
                for failure in netlink.failures(link):
                    if failure.failure() != errno.ESRCH:
                        raise _refusal(failure)


def _packed(kind: int, flags: int, loopback: bytes, shape: Shape, addresses: bytes) -> bytes:
    """A message for each; the last is to be acknowledged."""
    width = WIDTH[shape.version]
    priority = attribute(RTA_PRIORITY, netlink.NUMBER.pack(PRIORITY + shape.plane))
    where = RT_TABLE_LOCAL, PROTOCOL, RT_SCOPE[shape.version], RTN_LOCAL
    route = ROUTE.pack(FAMILY[shape.version], shape.length, 0, 0, *where, 0)
    destination = attribute(RTA_DST, bytes(width))
    message = netlink.pack(kind, flags, route + loopback + priority + destination)
    messages = spans.records(message, len(message) - width, width, addresses)
    last = len(messages) - len(message)
    return messages[:last] + netlink.acknowledging(messages[last:])


def _refusal(failure: netlink.Message) -> KernelError:
    """From an error, which repeats the message."""
    at = netlink.CODE.size + netlink.HEADER.size
    family, length, *_ = ROUTE.unpack_from(failure.content, at)
    version = 6 if family == socket.AF_INET6 else 4
    start = int.from_bytes(_destination(failure.content, at))
    return KernelError(
        f"local route to {network(version, start, length)}: {os.strerror(failure.failure())}",
        hint="is the interface lo up? See what is there: ip route show table local",
    )


def _dump(version: int, table: int) -> Iterator[tuple[bytes, int, int]]:
    """Our local routes in a table: address, length, priority."""
    wanted = ROUTE.pack(FAMILY[version], 0, 0, 0, 0, PROTOCOL, 0, RTN_LOCAL, 0)
    request = wanted + attribute(RTA_TABLE, netlink.NUMBER.pack(table))
    with netlink.connect() as link:
        for content in netlink.dump(link, RTM_GETROUTE, request):
            family, length, _, _, _, protocol, _, kind, _ = ROUTE.unpack_from(content)
            # Where IPv6 is disabled, the kernel answers a question for it with all that it has.
            if (family, protocol, kind) == (FAMILY[version], PROTOCOL, RTN_LOCAL):
                found = dict(netlink.attributes(content, ROUTE.size))
                priority = found.get(RTA_PRIORITY, bytes(4))
                yield found.get(RTA_DST, b""), length, netlink.NUMBER.unpack(priority)[0]


def _destination(content: bytes, at: int) -> bytes:
    return dict(netlink.attributes(content, at + ROUTE.size)).get(RTA_DST, b"")
