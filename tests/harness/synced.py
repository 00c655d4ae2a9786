"""What the kernel's sync daemons say, written by hand after net/netfilter/ipvs/ip_vs_sync.c."""

import socket
import struct
from collections.abc import Iterable
from ipaddress import ip_address

GROUP, PORT = "224.0.0.81", 8848
TCP, ESTABLISHED = 6, 1
DR = 3  # IP_VS_CONN_F_DROUTE
TEMPLATE = 0x1000


def record(
    client: str,
    vip: str,
    real: str,
    mark: int,
    *,
    protocol: int = TCP,
    flags: int = DR,
    ports: tuple[int, int, int] = (40000, 80, 80),
    timeout: int = 900,
    parameters: bytes = b"",
) -> bytes:
    """One connection; `ports` are those of client, VIP and real server."""
    addresses = [ip_address(text).packed for text in (client, vip, real)]
    kind = 1 if len(addresses[0]) == 16 else 0
    size = 24 + sum(map(len, addresses)) + len(parameters)
    head = struct.pack(">BBHIHHHH", kind, protocol, size, flags, ESTABLISHED, *ports)
    return head + struct.pack(">II", mark, timeout) + b"".join(addresses) + parameters


def message(records: Iterable[bytes], sync_id: int = 7) -> bytes:
    """All records in one message: each begins at a multiple of four bytes."""
    body, number = b"", 0
    for one in records:
        body += bytes(-len(body) % 4) + one
        number += 1
    return struct.pack(">BBHBbH", 0, sync_id, 8 + len(body), number, 1, 0) + body


def speaking(device: str) -> socket.socket:
    """A socket in the master daemon's place; in the namespace of the calling thread."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _membership(device))
    made.connect((GROUP, PORT))
    return made


def hearing(device: str) -> socket.socket:
    """A socket in the backup daemon's place; in the namespace of the calling thread."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    made.bind((GROUP, PORT))
    made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, _membership(device))
    made.settimeout(20)
    return made


def _membership(device: str) -> bytes:
    """A struct ip_mreqn."""
    index = socket.if_nametoindex(device)
    return socket.inet_aton(GROUP) + bytes(4) + struct.pack("=i", index)
