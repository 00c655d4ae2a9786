"""Local routes, one or a million: hand-packed messages, thousands to a system call.

A million VIPs are routes of type `local` to `lo` in table `local`, with our protocol number and a
priority of their own, so that the kernel's route of an address that the director owns comes first.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from functools import cache, partial
from itertools import islice
from typing import NamedTuple

from vipctl import netlink
from vipctl.errors import KernelError
from vipctl.netlink import NLM_F_CREATE, NLM_F_REPLACE, attribute
from vipctl.prefixes import BITS, FAMILY, VERSIONS, network


class Prefix(NamedTuple):
    """Each plane has routes of its own, told apart by priority: what one loses others keep."""

    version: int
    start: int
    length: int
    plane: int = 0


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


def add(prefixes: Iterable[Prefix]) -> None:
    """Those that are there already stay. Raises KernelError naming the first that fails."""
    _change(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, prefixes)


def delete(prefixes: Iterable[Prefix]) -> None:
    """Those that are gone already are no error."""
    _change(RTM_DELROUTE, 0, prefixes)


def read() -> set[Prefix]:
    """All that are ours in table `local`. Slow, and large, where there are many."""
    return {
        Prefix(version, start, length, priority - PRIORITY)
        for version in VERSIONS
        for start, length, priority in _dump(version, RT_TABLE_LOCAL)
        if priority >= PRIORITY
    }


def has_default(version: int, table: int) -> bool:
    """Whether everything is local in a table of ours."""
    return any(length == 0 for _, length, _ in _dump(version, table))


def present(prefix: Prefix) -> bool:
    """Whether the kernel's best route to the prefix is a local one of this length."""
    version, start, length, _ = prefix
    bits = BITS[version]
    route = ROUTE.pack(FAMILY[version], bits, 0, 0, 0, 0, 0, 0, RTM_F_FIB_MATCH)
    request = route + attribute(RTA_DST, start.to_bytes(bits // 8, "big"))
    with netlink.connect() as link:
        link.sendall(netlink.pack(RTM_GETROUTE, 0, request))
        (answer, *_) = netlink.receive(link)
    if answer.kind != RTM_NEWROUTE:
        return False
    _, found, _, _, _, _, _, kind, _ = ROUTE.unpack_from(answer.content)  # the table may be wrong
    return (found, kind) == (length, RTN_LOCAL)


def _change(kind: int, flags: int, prefixes: Iterable[Prefix]) -> None:
    todo = iter(prefixes)
    with netlink.connect() as link:
        loopback = attribute(RTA_OIF, netlink.NUMBER.pack(socket.if_nametoindex("lo")))
        pack = partial(_packed, kind, flags, loopback)
        while chunk := list(islice(todo, CHUNK)):
            *most, last = map(pack, chunk)
            link.sendall(b"".join(most) + netlink.acknowledging(last))
            for failure in netlink.failures(link):
                if failure.failure() != errno.ESRCH:
                    raise _refusal(failure)


def _packed(kind: int, flags: int, loopback: bytes, prefix: Prefix) -> bytes:
    version, start, length, plane = prefix
    priority = attribute(RTA_PRIORITY, netlink.NUMBER.pack(PRIORITY + plane))
    destination = attribute(RTA_DST, start.to_bytes(BITS[version] // 8, "big"))
    return netlink.pack(kind, flags, _local(version, length) + loopback + priority + destination)


@cache
def _local(version: int, length: int) -> bytes:
    where = RT_TABLE_LOCAL, PROTOCOL, RT_SCOPE[version], RTN_LOCAL
    return ROUTE.pack(FAMILY[version], length, 0, 0, *where, 0)


def _refusal(failure: netlink.Message) -> KernelError:
    """From an error, which repeats the message."""
    at = netlink.CODE.size + netlink.HEADER.size
    family, length, *_ = ROUTE.unpack_from(failure.content, at)
    version = 6 if family == socket.AF_INET6 else 4
    start = _destination(failure.content, at)
    return KernelError(
        f"local route to {network(version, start, length)}: {os.strerror(failure.failure())}",
        hint="is the interface lo up? See what is there: ip route show table local",
    )


def _dump(version: int, table: int) -> Iterator[tuple[int, int, int]]:
    """Our local routes in a table: address, length, priority."""
    wanted = ROUTE.pack(FAMILY[version], 0, 0, 0, 0, PROTOCOL, 0, RTN_LOCAL, 0)
    request = wanted + attribute(RTA_TABLE, netlink.NUMBER.pack(table))
    with netlink.connect() as link:
        for content in netlink.dump(link, RTM_GETROUTE, request):
            family, length, _, _, _, protocol, _, kind, _ = ROUTE.unpack_from(content)
            # Where IPv6 is disabled, the kernel answers a question for it with all that it has.
            if (family, protocol, kind) == (FAMILY[version], PROTOCOL, RTN_LOCAL):
                yield _destination(content), length, _number(content, RTA_PRIORITY)


def _destination(content: bytes, at: int = 0) -> int:
    found = netlink.attributes(content, at + ROUTE.size)
    return next((int.from_bytes(value, "big") for kind, value in found if kind == RTA_DST), 0)


def _number(content: bytes, wanted: int) -> int:
    found = netlink.attributes(content, ROUTE.size)
    return next((netlink.NUMBER.unpack(value)[0] for kind, value in found if kind == wanted), 0)
