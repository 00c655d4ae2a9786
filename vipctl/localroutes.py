"""Local routes by the million: hand-packed rtnetlink messages, thousands to a system call.

Ours are routes of type `local` to `lo` in table `local`, with our protocol number and a priority of
their own, so that the kernel's route of an address that the director owns comes first.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import islice
from typing import NamedTuple

from vipctl.errors import KernelError, Missing
from vipctl.prefixes import BITS, FAMILY, VERSIONS, network
from vipctl.routing import PROTOCOL

Prefix = tuple[int, int, int]  # version, network address, length

PRIORITY = 30320
CHUNK = 10_000  # messages that one system call sends and one acknowledgement answers
BUFFER = 4 << 20  # bytes
PATIENCE = 60.0  # seconds for the kernel's answer
LAST = 1  # sequence number of a chunk's last message

# include/uapi/linux/netlink.h and rtnetlink.h
SOL_NETLINK = 270
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33  # include/uapi/asm-generic/socket.h
NETLINK_GET_STRICT_CHK = 12
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_CREATE = 1, 4, 0x300, 0x100, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_F_FIB_MATCH = 0x2000
RTN_LOCAL, RT_TABLE_LOCAL = 2, 255
RT_SCOPE = {4: 254, 6: 0}  # host; IPv6 has no scopes
RTA_DST, RTA_OIF, RTA_PRIORITY, RTA_TABLE = 1, 4, 6, 15

MESSAGE = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, lengths, tos, table, protocol, scope, type
ATTRIBUTE = struct.Struct("=HH")


class Message(NamedTuple):
    """What the kernel sent: type and content without the header."""

    kind: int
    sequence: int
    content: bytes


def add(prefixes: Iterable[Prefix]) -> None:
    """Those that are there already stay. Raises KernelError naming the first that fails."""
    _change(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, prefixes)


def delete(prefixes: Iterable[Prefix]) -> None:
    """Those that are gone already are no error."""
    _change(RTM_DELROUTE, 0, prefixes)


def read() -> set[Prefix]:
    """All that are ours. Slow, and large, where there are many."""
    with _open() as link:
        return {prefix for version in VERSIONS for prefix in _dump(link, version)}


def present(prefix: Prefix) -> bool:
    """Whether the kernel's best route to the prefix is a local one of this length."""
    version, start, length = prefix
    bits = BITS[version]
    route = _route(version, bits, flags=RTM_F_FIB_MATCH, table=0, protocol=0, scope=0, kind=0)
    request = route + _attribute(RTA_DST, start.to_bytes(bits // 8, "big"))
    with _open() as link:
        link.sendall(_message(RTM_GETROUTE, NLM_F_REQUEST, request))
        (answer, *_) = _receive(link)
    if answer.kind == NLMSG_ERROR:
        return False
    _, found, _, _, table, _, _, kind, _ = ROUTE.unpack_from(answer.content)
    return (found, table, kind) == (length, RT_TABLE_LOCAL, RTN_LOCAL)


def _change(kind: int, flags: int, prefixes: Iterable[Prefix]) -> None:
    todo = iter(prefixes)
    with _open() as link:
        loopback = _attribute(RTA_OIF, struct.pack("=I", socket.if_nametoindex("lo")))
        pack = partial(_packed, kind, NLM_F_REQUEST | flags, loopback)
        while chunk := list(islice(todo, CHUNK)):
            *most, last = map(pack, chunk)
            link.sendall(b"".join(most) + _acknowledging(last))
            _await_acknowledgement(link)


def _acknowledging(message: bytes) -> bytes:
    length, kind, flags, _, port = MESSAGE.unpack_from(message)
    return MESSAGE.pack(length, kind, flags | NLM_F_ACK, LAST, port) + message[MESSAGE.size :]


def _packed(kind: int, flags: int, loopback: bytes, prefix: Prefix) -> bytes:
    version, start, length = prefix
    content = (
        _local(version, length)
        + loopback
        + OURS
        + _attribute(RTA_DST, start.to_bytes(BITS[version] // 8, "big"))
    )
    return _message(kind, flags, content)


@cache
def _local(version: int, length: int) -> bytes:
    return _route(
        version,
        length,
        table=RT_TABLE_LOCAL,
        protocol=PROTOCOL,
        scope=RT_SCOPE[version],
        kind=RTN_LOCAL,
        flags=0,
    )


def _route(
    version: int, length: int, *, table: int, protocol: int, scope: int, kind: int, flags: int
) -> bytes:
    return ROUTE.pack(FAMILY[version], length, 0, 0, table, protocol, scope, kind, flags)


def _attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value


OURS = _attribute(RTA_PRIORITY, struct.pack("=I", PRIORITY))


def _message(kind: int, flags: int, content: bytes) -> bytes:
    return MESSAGE.pack(MESSAGE.size + len(content), kind, flags, 0, 0) + content


def _await_acknowledgement(link: socket.socket) -> None:
    """Reads the errors of messages before the last, and the answer to that."""
    while True:
        for answer in _receive(link):
            (code,) = struct.unpack_from("=i", answer.content)
            if code and -code != errno.ESRCH:
                raise _refusal(-code, answer.content)
            if answer.sequence == LAST:
                return


def _refusal(code: int, content: bytes) -> KernelError:
    """From an NLMSG_ERROR, which repeats the message that failed."""
    family, length = struct.unpack_from("=BB", content, 4 + MESSAGE.size)
    version = 6 if family == socket.AF_INET6 else 4
    at = 4 + MESSAGE.size + ROUTE.size + len(OURS) * 2 + ATTRIBUTE.size
    start = int.from_bytes(content[at : at + BITS[version] // 8], "big")
    return KernelError(
        f"local route to {network(version, start, length)}: {os.strerror(code)}",
        hint="is the interface lo up? See what is there: ip route show table local",
    )


def _dump(link: socket.socket, version: int) -> Iterator[Prefix]:
    request = _route(
        version, 0, table=RT_TABLE_LOCAL, protocol=PROTOCOL, scope=0, kind=RTN_LOCAL, flags=0
    )
    link.sendall(_message(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, request))
    while True:
        for answer in _receive(link):
            if answer.kind == NLMSG_DONE:
                return
            if answer.kind == NLMSG_ERROR:
                raise _no_dump(answer)
            yield from _ours(version, answer.content)


def _no_dump(answer: Message) -> KernelError:
    (code,) = struct.unpack_from("=i", answer.content)
    return KernelError(f"table local cannot be listed: {os.strerror(-code)}", hint="try again")


def _ours(version: int, content: bytes) -> Iterator[Prefix]:
    family, length, _, _, table, protocol, _, kind, _ = ROUTE.unpack_from(content)
    wanted = (FAMILY[version], RT_TABLE_LOCAL, PROTOCOL, RTN_LOCAL)
    if (family, table, protocol, kind) == wanted:
        yield version, _destination(content), length


def _destination(content: bytes) -> int:
    at = ROUTE.size
    while at < len(content):
        size, kind = ATTRIBUTE.unpack_from(content, at)
        if kind == RTA_DST:
            return int.from_bytes(content[at + ATTRIBUTE.size : at + size], "big")
        at += (size + 3) & ~3
    return 0


def _receive(link: socket.socket) -> Iterator[Message]:
    buffer = link.recv(BUFFER)
    at = 0
    while at < len(buffer):
        length, kind, _, sequence, _ = MESSAGE.unpack_from(buffer, at)
        yield Message(kind, sequence, buffer[at + MESSAGE.size : at + length])
        at += (length + 3) & ~3


@contextmanager
def _open() -> Iterator[socket.socket]:
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
            link.settimeout(PATIENCE)
            link.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
            link.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, BUFFER)
            link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
            yield link
    except PermissionError as e:
        raise Missing("routing: no permission", hint="run as root (CAP_NET_ADMIN)") from e
    except OSError as e:
        raise KernelError(f"local routes: {e.strerror or e}", hint="try again") from e
