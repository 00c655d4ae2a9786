"""Packets made by hand, for what a socket would not send; put on a host's wire as they are."""

import socket
import struct
from ipaddress import ip_address

from tests.harness.netns import Namespace

ETH_P = {4: 0x0800, 6: 0x86DD}  # linux/if_ether.h
ICMP = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}
ELSEWHERE = {4: "192.0.2.1", 6: "2001:db8:f::1"}
TCP_CHECKSUM, UDP_CHECKSUM, ICMP_CHECKSUM = 16, 6, 2  # where it is


def udp(src: str, dst: str, port: int = 9) -> bytes:
    """Return a UDP packet."""
    datagram = struct.pack("!HHHH4s", 40000, port, 12, 0, b"body")
    pseudo = _pseudo(src, dst, socket.IPPROTO_UDP, datagram)
    return _ip(src, dst, socket.IPPROTO_UDP, _summed(datagram, UDP_CHECKSUM, pseudo))


def tcp_ack(src: str, dst: str, port: int) -> bytes:
    """Return a segment of an open connection."""
    segment = struct.pack("!HHIIHHHH", 40000, port, 1, 1, 0x5010, 1000, 0, 0)
    pseudo = _pseudo(src, dst, socket.IPPROTO_TCP, segment)
    return _ip(src, dst, socket.IPPROTO_TCP, _summed(segment, TCP_CHECKSUM, pseudo))


def need_frag(src: str, dst: str, mtu: int = 1400) -> bytes:
    """Return the ICMP error of a router at `src` that found a TCP answer of `dst` too large."""
    version = ip_address(dst).version
    kind = struct.pack("!BBHI", *((3, 4, 0, mtu) if version == 4 else (2, 0, 0, mtu)))
    ports = struct.pack("!HHIIHHHH", 80, 40000, 1, 1, 0x5010, 0, 0, 0)
    error = kind + _ip(dst, ELSEWHERE[version], socket.IPPROTO_TCP, ports)
    pseudo = _pseudo(src, dst, ICMP[6], error) if version == 6 else b""
    return _ip(src, dst, ICMP[version], _summed(error, ICMP_CHECKSUM, pseudo))


def transmit(host: Namespace, via: Namespace, *packets: bytes, device: str = "eth0") -> None:
    """Send packets from a host's interface to the like-named one of its neighbour `via`."""
    with host, _wire(device) as wire:
        ends = _mac(via, device) + wire.getsockname()[4]
        for packet in packets:
            wire.send(ends + struct.pack("!H", ETH_P[packet[0] >> 4]) + packet)


def _wire(device: str) -> socket.socket:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    wire.bind((device, 0))
    return wire


def _mac(host: Namespace, device: str) -> bytes:
    with host, _wire(device) as wire:
        address: bytes = wire.getsockname()[4]
        return address


def _ip(src: str, dst: str, protocol: int, payload: bytes) -> bytes:
    ends = ip_address(src).packed + ip_address(dst).packed
    if ip_address(dst).version == 6:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + ends + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0)
    return _summed(head + ends, 10) + payload


def _pseudo(src: str, dst: str, protocol: int, message: bytes) -> bytes:
    """Return what a checksum covers besides; IPv4's has the same sum in fewer bytes."""
    ends = ip_address(src).packed + ip_address(dst).packed
    return ends + struct.pack("!II", len(message), protocol)


def _summed(message: bytes, at: int, pseudo: bytes = b"") -> bytes:
    """Return a message with the Internet checksum in its place."""
    data = pseudo + message
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return message[:at] + struct.pack("!H", ~total & 0xFFFF) + message[at + 2 :]
