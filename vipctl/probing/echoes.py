"""Echo requests to an address, of a size, that nobody on the way may cut into fragments."""

import asyncio
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from vipctl.addresses.prefixes import AF, IPAddress

SMALL = 84  # bytes of an IP packet, as ping sends it
HEADERS = {4: 28, 6: 48}  # bytes of IP and ICMP
REQUEST, REPLY = {4: 8, 6: 128}, {4: 0, 6: 129}
PROTOCOLS = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}
# Of include/uapi/linux/in.h and in6.h: levels, IP_MTU_DISCOVER, and IP_PMTUDISC_PROBE for both.
DISCOVER = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}
PROBE = 3
LARGEST = 65535


async def answers(address: IPAddress, size: int, timeout: float) -> bool | None:
    """Whether one request of `size` bytes is answered; None where it cannot be sent."""
    token = os.urandom(8)
    with _socket(address.version) as sock:
        try:
            sock.connect((str(address), 0))
            sock.send(_request(address.version, size, token))
            async with asyncio.timeout(timeout):
                while not _answered(await _received(sock), address.version, token):
                    pass
        except TimeoutError:
            return False
        except OSError:
            return None
        return True


async def _received(sock: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(sock, LARGEST)


@contextmanager
def _socket(version: int) -> Iterator[socket.socket]:
    with socket.socket(AF[version], socket.SOCK_RAW, PROTOCOLS[version]) as sock:
        sock.setblocking(False)
        sock.setsockopt(*DISCOVER[version], PROBE)
        yield sock


def _request(version: int, size: int, token: bytes) -> bytes:
    """The kernel sums those of IPv6."""
    body = token.ljust(size - HEADERS[version], b"\0")
    summed = 0 if version == 6 else _sum(struct.pack("!BBHI", REQUEST[4], 0, 0, 0) + body)
    return struct.pack("!BBHI", REQUEST[version], 0, summed, 0) + body


def _sum(data: bytes) -> int:
    """RFC 1071."""
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2))
    total: int = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _answered(packet: bytes, version: int, token: bytes) -> bool:
    """Raw sockets of IPv4 have the IP header before."""
    icmp = packet[(packet[0] & 15) * 4 :] if version == 4 else packet
    return icmp[:1] == bytes([REPLY[version]]) and icmp[8:16] == token
