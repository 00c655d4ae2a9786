"""Ethernet frames, each a small UDP datagram, for a list of destinations. Pure.

Each has a client port of its own: IPVS finds connections by a hash of the client's address and port
alone, so that those of one port would all be in one chain.
"""

import struct
from collections.abc import Iterable
from itertools import count

PORT = 80
FIRST_PORT = 20000  # of the client
CLIENT = {4: bytes((10, 0, 0, 2)), 6: bytes.fromhex("fd000000000000000000000000000002")}
CLIENT_MAC = bytes.fromhex("020000000001")
DIRECTOR_MAC = bytes.fromhex("020000000002")
PAYLOAD = bytes(18)  # fills the smallest frame
UDP = 17
TTL = 64
LENGTH = {4: 14 + 20 + 8 + len(PAYLOAD), 6: 14 + 40 + 8 + len(PAYLOAD)}
ETHERTYPE = {4: 0x0800, 6: 0x86DD}


def frames(version: int, destinations: Iterable[int], source: bytes = b"") -> bytes:
    """Return a frame for each destination, one after the other, all of `LENGTH[version]`.

    `source` is the client's address where it is not CLIENT.
    """
    network = _ipv4 if version == 4 else _ipv6
    head = DIRECTOR_MAC + CLIENT_MAC + ETHERTYPE[version].to_bytes(2, "big")
    ports = count(FIRST_PORT)
    source = source or CLIENT[version]
    pairs = zip(destinations, ports, strict=False)
    return b"".join(head + network(source, to, port) for to, port in pairs)


def _ipv4(source: bytes, destination: int, port: int) -> bytes:
    to = destination.to_bytes(4, "big")
    size = 28 + len(PAYLOAD)
    fields = struct.pack(">BBHHHBBH", 0x45, 0, size, 0, 0, TTL, UDP, 0) + source + to
    header = fields[:10] + _checksum(fields).to_bytes(2, "big") + fields[12:]
    return header + _udp(source + to, port)


def _ipv6(source: bytes, destination: int, port: int) -> bytes:
    to = destination.to_bytes(16, "big")
    header = struct.pack(">IHBB", 6 << 28, 8 + len(PAYLOAD), UDP, TTL)
    return header + source + to + _udp(source + to, port)


def _udp(addresses: bytes, port: int) -> bytes:
    size = 8 + len(PAYLOAD)
    ports = struct.pack(">HHH", port, PORT, size)
    checksum = _checksum(addresses + struct.pack(">HH", UDP, size) + ports + PAYLOAD) or 0xFFFF
    return ports + checksum.to_bytes(2, "big") + PAYLOAD


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
