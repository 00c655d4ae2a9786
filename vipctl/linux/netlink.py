"""Netlink, packed by hand: a library would take minutes for large sets, or read all routes.

Numbers are from include/uapi/linux/netlink.h unless said.
"""

import _socket as socket  # imported faster: `socket` makes enumerations of its constants
import errno
import os
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from vipctl.errors import KernelError, Missing

NETLINK_NETFILTER, NETLINK_GENERIC = 12, 16
SOL_NETLINK = 270  # include/linux/socket.h
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33  # include/uapi/asm-generic/socket.h
NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 10, 11, 12
NLMSGERR_ATTR_MSG = 1
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
NLM_F_DUMP_INTR, NLM_F_ACK_TLVS = 0x10, 0x200
NLMSG_ERROR, NLMSG_DONE = ENDS = 2, 3  # nothing more comes of a dump after either
NLA_F_NESTED, NLA_F_NET_BYTEORDER, NLA_TYPE_MASK = 0x8000, 0x4000, 0x3FFF
BUFFER = 4 << 20  # bytes
OVERHEAD = 32  # bytes of what is sent: netlink_sendmsg() of net/netlink/af_netlink.c
PATIENCE = 60.0  # seconds for the kernel's answer
OURS = 0x76000000  # how ports of our own sockets begin; the kernel gives others, to all programs
TRIES = 100  # at what others may undo meanwhile
LAST = 1  # sequence number of the message that is to be acknowledged

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ATTRIBUTE = struct.Struct("=HH")  # length, type
NUMBER = struct.Struct("=I")
CODE = struct.Struct("=i")
ERROR_SIZE = CODE.size + HEADER.size  # of struct nlmsgerr

Link = socket.socket


class Message(NamedTuple):
    """What the kernel sent: type, flags, sequence number, and the content behind the header."""

    kind: int
    flags: int
    sequence: int
    content: bytes

    def failure(self) -> int:
        """The errno of an NLMSG_ERROR or NLMSG_DONE; 0 for an acknowledgement."""
        return error_number(self.content, 0) if self.kind in ENDS else 0

    def said(self) -> str:
        """The kernel's text of an error, or ""; there is none if the error repeats the request."""
        found = dict(attributes(self.content, ERROR_SIZE)) if self.flags & NLM_F_ACK_TLVS else {}
        return found.get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")


@contextmanager
def connect(
    protocol: int = socket.NETLINK_ROUTE, what: str = "routing", size: int = BUFFER
) -> Iterator[Link]:
    """A socket that takes messages of up to `size` bytes, or less: see `room`.

    The kernel filters its dumps. Raises KernelError that begins with `what`, or Missing.
    """
    try:
        with closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)) as link:
            link.settimeout(PATIENCE)
            link.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
            # An error either repeats the whole request or has a text that says why.
            short = size > BUFFER or protocol == NETLINK_GENERIC
            for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK):
                link.setsockopt(SOL_NETLINK, option, short)
            _make_room(link, SO_SNDBUFFORCE, socket.SO_SNDBUF, size)
            _make_room(link, SO_RCVBUFFORCE, socket.SO_RCVBUF, BUFFER)
            yield link
    except PermissionError as e:
        raise Missing(f"{what}: no permission", hint="run as root (CAP_NET_ADMIN)") from e
    except OSError as e:
        raise KernelError(f"{what}: {e.strerror or e}", hint="try again") from e


def sign(link: Link) -> None:
    """Gives a new socket a port by which whoever hears of its changes knows that they are vipctl's.

    Numbers of processes do not tell: the kernel may count them in another namespace.
    """
    for _ in range(TRIES):
        try:
            link.bind((OURS | int.from_bytes(os.urandom(3)), 0))
        except OSError as e:
            if e.errno != errno.EADDRINUSE:
                raise
        else:
            return


def is_signed(port: int) -> bool:
    return port & ~0xFFFFFF == OURS


def _make_room(link: Link, forced: int, allowed: int, size: int) -> None:
    """Enlarges a socket buffer; in a user namespace root too is limited (net.core.wmem_max)."""
    try:
        link.setsockopt(socket.SOL_SOCKET, forced, size)
    except PermissionError:
        link.setsockopt(socket.SOL_SOCKET, allowed, size)


def room(link: Link) -> int:
    """How many bytes may be sent at once; the kernel needs a few itself."""
    return link.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) - OVERHEAD


def send(link: Link, messages: bytes) -> None:
    """Sends messages that need not arrive together, as many at once as the socket takes."""
    most, at = room(link), 0
    while len(messages) - at > most:
        end = _last_end(messages, at, at + most)
        link.sendall(messages[at:end])
        at = end
    link.sendall(messages[at:] if at else messages)


def _last_end(messages: bytes, at: int, limit: int) -> int:
    """The end of the last message that ends within the limit, or of the first."""
    end = at + int(HEADER.unpack_from(messages, at)[0])
    while end < limit and (after := end + int(HEADER.unpack_from(messages, end)[0])) <= limit:
        end = after
    return end


def pack(kind: int, flags: int, content: bytes, sequence: int = 0) -> bytes:
    size = HEADER.size + len(content)
    return HEADER.pack(size, kind, flags | NLM_F_REQUEST, sequence, 0) + content


def acknowledging(message: bytes) -> bytes:
    """The same message with a request for an acknowledgement, by which `failures` ends."""
    size, kind, flags, _, port = HEADER.unpack_from(message)
    return HEADER.pack(size, kind, flags | NLM_F_ACK, LAST, port) + message[HEADER.size :]


def attribute(kind: int, value: bytes) -> bytes:
    size = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(size, kind) + value + bytes(-size % 4)


def attributes(content: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Type and value of each attribute from `at` on. Raises KernelError if one is cut short.

    A rest that is too small for an attribute is ignored, as the kernel's nla_ok() does.
    """
    end = len(content)
    while at + ATTRIBUTE.size <= end:
        size, kind = ATTRIBUTE.unpack_from(content, at)
        if not ATTRIBUTE.size <= size <= end - at:
            raise KernelError("netlink: the kernel's answer is cut short", hint="try again")
        yield kind & NLA_TYPE_MASK, content[at + ATTRIBUTE.size : at + size]
        at += (size + 3) & ~3


def receive(link: Link) -> Iterator[Message]:
    return messages(link.recv(BUFFER))


def messages(buffer: bytes) -> Iterator[Message]:
    """All that arrived at once."""
    for at, size, kind, flags, sequence in headers(buffer):
        yield Message(kind, flags, sequence, buffer[at + HEADER.size : at + size])


def ports(buffer: bytes) -> Iterator[int]:
    """Of each of these messages, the port of the socket that asked for what it tells."""
    for at, *_ in headers(buffer):
        yield HEADER.unpack_from(buffer, at)[-1]


def headers(buffer: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    """Where each message begins, and what its header says."""
    at = 0
    while at < len(buffer):
        size, kind, flags, sequence, _ = HEADER.unpack_from(buffer, at)
        yield at, size, kind, flags, sequence
        at += (size + 3) & ~3


def ask(link: Link, kind: int, flags: int, content: bytes) -> Message:
    """Sends a message that has one answer."""
    link.sendall(pack(kind, flags, content))
    return next(receive(link))


def failures(link: Link) -> Iterator[Message]:
    """The errors of all messages up to the one that asks for an acknowledgement."""
    while True:
        for answer in receive(link):
            if answer.failure():
                yield answer
            if answer.sequence == LAST:
                return


def error_number(buffer: bytes, at: int) -> int:
    """The errno that an NLMSG_ERROR or NLMSG_DONE has at this place."""
    return -int(CODE.unpack_from(buffer, at)[0])


def refusal(what: str, code: int, hint: str) -> KernelError:
    """The error to raise for an errno of the kernel's."""
    return KernelError(f"{what}: {os.strerror(code)} (errno {code})", hint=hint)
