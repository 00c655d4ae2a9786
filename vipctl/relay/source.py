"""This director's kernel, as the relay has it: a tun device on which its sync daemons multicast.

A record that it is given comes from the other end of the link, which no director has as an address:
the kernel refuses packets from its own addresses.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address

from vipctl.linux import multicast
from vipctl.linux.devices import Lasting

GROUP, PORT = IPv4Address("224.0.0.81"), 8848  # net/netfilter/ipvs/ip_vs_ctl.c: where it multicasts
OWN, OTHER = IPv4Address("169.254.88.48"), IPv4Address("169.254.88.49")  # ends of the link
UDP = 17
IP = struct.Struct(">BBHHHBBH4s4s")  # struct iphdr
PORTS = struct.Struct(">HHHH")  # struct udphdr: from, to, length, checksum
HEADERS = IP.size + PORTS.size
LARGEST = 65535  # bytes of a packet
AT_ONCE = 64  # packets, after which others have their turn


class Source:
    """The device is up, and stays when the process ends: the daemons go on.

    Raises Missing, Refused or KernelError.
    """

    def __init__(self, device: str) -> None:
        self._device = Lasting(device)
        self.name, self.fileno = device, self._device.fileno
        self._begin()

    def _begin(self) -> None:
        self._device.join(OWN, OTHER)
        self._device.set(up=True)

    def close(self) -> None:
        self._device.close()

    def tend(self) -> str:
        """Undoes what somebody has done to the device; returns what that was.

        A device that was deleted is made again: `fileno` is another then, and who was bound to the
        one before is not bound to it. Raises Missing, Refused or KernelError.
        """
        if not self._device.exists():
            self._device.make_again()
            self._begin()
            return (
                f"somebody has deleted {self.name}: it is made again; on it, the kernel's sync "
                "daemons are to be started again (vipctl watch does it, or vipctl restore)"
            )
        if not self._device.is_set_up():
            self._device.set(up=True)
            return f"somebody has set {self.name} down: it is up again"
        return ""

    def read(self) -> Iterator[bytes]:
        """The messages that wait, up to some; what else is sent there is passed over.

        Raises OSError once the device has gone.
        """
        with suppress(BlockingIOError):
            for _ in range(AT_ONCE):
                if message := unwrapped(os.read(self.fileno(), LARGEST)):
                    yield message

    def write(self, message: bytes) -> bool:
        """Gives the kernel a message; returns whether it took it."""
        try:
            os.write(self.fileno(), wrapped(message))
        except OSError:  # such as that the device is down, or has gone
            return False
        return True

    def is_heard(self) -> bool:
        """Whether somebody, such as the backup daemon, listens to the group on the device."""
        return multicast.heard(GROUP, self.name)


def wrapped(message: bytes) -> bytes:
    """The packet by which another director would multicast a message."""
    size = HEADERS + len(message)
    fields = 0x45, 0, size, 0, 0, 1, UDP
    bare = IP.pack(*fields, 0, OTHER.packed, GROUP.packed)
    head = IP.pack(*fields, _checksum(bare), OTHER.packed, GROUP.packed)
    return head + PORTS.pack(PORT, PORT, size - IP.size, 0) + message  # 0: without a checksum


def unwrapped(packet: bytes) -> bytes:
    """The message in a packet of the master daemon; b"" if it is another packet."""
    if len(packet) < HEADERS or packet[0] != 0x45:
        return b""
    _, _, size, _, fragment, _, protocol, _, _, target = IP.unpack_from(packet)
    _, port, length, _ = PORTS.unpack_from(packet, IP.size)
    meant = (protocol, target, port) == (UDP, GROUP.packed, PORT) and not fragment & 0x3FFF
    return packet[HEADERS:] if meant and size == len(packet) == length + IP.size else b""


def _checksum(header: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
