"""What a client sees, as words."""

import errno
import socket
import struct
from ipaddress import ip_address

from tests.conformance.checks import YES
from tests.harness.lab import family
from tests.harness.netns import Namespace
from tests.harness.traffic import LINUX_IP_RECVERR, LINUX_IPV6_RECVERR, Connection, Outcome, Reply

MSG_ERRQUEUE = 0x2000  # linux/socket.h
TIME_EXCEEDED = {4: 11, 6: 3}  # linux/icmp.h, linux/icmpv6.h
HEADERS = {4: 40, 6: 60}  # bytes of IP and TCP without options
SERVERS = ("real1", "real2", "proxy1", "proxy2")
SILENCE = "silence"
WORDS = {
    Outcome.REFUSED: "refused",
    Outcome.RESET: "reset",
    Outcome.UNREACHABLE: "unreachable",
    Outcome.TIMEOUT: SILENCE,
}


def word(reply: Reply, *servers: str) -> str:
    """Return "yes" for an answer of a server that should answer, or what came instead."""
    if reply.server in (servers or SERVERS):
        return YES
    return f"answered by {reply.server}" if reply.answered else WORDS[reply.outcome]


def worst(*words: str) -> str:
    """Return the first word that is not "yes", if there is one."""
    return next((each for each in words if each != YES), YES)


def fetch(connection: Connection, path: str) -> bytes:
    """Get something of a WebServer on an open connection."""
    connection.socket.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
    length = 0
    while (line := connection.stream.readline()).strip():
        name, _, value = line.partition(b":")
        if name == b"Content-Length":
            length = int(value)
    return connection.stream.read(length)


def segment(handle: socket.socket) -> int:
    """Return how large the segments of a connection may be, at present."""
    return handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)


def first_hop(client: Namespace, vip: str, kind: socket.SocketKind, timeout: float) -> str:
    """Return who says that a packet's time was exceeded at the first hop, or what came instead."""
    with client, socket.socket(family(vip), kind) as asking:
        _live_one_hop(asking)
        asking.settimeout(timeout)
        try:
            asking.connect((vip, 80))
            asking.send(b"GET / HTTP/1.1\r\n\r\n")
            asking.recv(1)
        except TimeoutError:
            return SILENCE
        except OSError as error:
            return _complainer(asking) or errno.errorcode[error.errno or 0]
        return "answered"


def _live_one_hop(asking: socket.socket) -> None:
    if asking.family == socket.AF_INET6:
        asking.setsockopt(socket.IPPROTO_IPV6, LINUX_IPV6_RECVERR, 1)
        asking.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
    else:
        asking.setsockopt(socket.IPPROTO_IP, LINUX_IP_RECVERR, 1)
        asking.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)


def _complainer(asking: socket.socket) -> str:
    """Read the sender of an ICMP time exceeded off a socket's error queue."""
    try:
        _, ancillary, _, _ = asking.recvmsg(2048, 512, MSG_ERRQUEUE)
    except BlockingIOError:
        return ""
    for _, kind, data in ancillary:
        if kind in (LINUX_IP_RECVERR, LINUX_IPV6_RECVERR):
            return _offender(data)
    return ""


def _offender(data: bytes) -> str:
    """Read a struct sock_extended_err and the address that follows it."""
    (af,) = struct.unpack_from("=H", data, 16)
    version, packed = (4, data[20:24]) if af == socket.AF_INET else (6, data[24:40])
    return str(ip_address(packed)) if data[5] == TIME_EXCEEDED[version] else ""
