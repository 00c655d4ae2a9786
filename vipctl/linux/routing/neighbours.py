"""Neighbours: what the kernel knows of a host's link-layer address.

Numbers are from include/uapi/linux/neighbour.h unless said.
"""

import errno
import struct
from ipaddress import ip_address

from vipctl.addresses.prefixes import AF, IPAddress
from vipctl.linux import dumps, netlink
from vipctl.linux.netlink import attribute

RTM_GETNEIGH = 30  # include/uapi/linux/rtnetlink.h
NDA_DST = 1
NUD_FAILED = 0x20
NUD_VALID = 0xDE  # PERMANENT, NOARP, REACHABLE, PROBE, STALE, DELAY: include/net/neighbour.h
NEIGHBOUR = struct.Struct("=BxxxiHBB")  # struct ndmsg: family, interface, state, flags, type


def failed() -> set[tuple[int, IPAddress]]:
    """Devices and addresses that do not answer there. Raises KernelError."""
    found: set[tuple[int, IPAddress]] = set()
    with netlink.connect() as link:
        for content in dumps.dump(link, RTM_GETNEIGH, NEIGHBOUR.pack(0, 0, 0, 0, 0)):
            family, device, known, _, _ = NEIGHBOUR.unpack_from(content)
            if family in AF.values() and known & NUD_FAILED:
                address = dict(netlink.attributes(content, NEIGHBOUR.size))[NDA_DST]
                found.add((device, ip_address(address)))
    return found


def state(device: int, address: IPAddress) -> int:
    """NUD_… of a host on the link of a device; 0 if nobody has asked for it. Raises KernelError."""
    content = NEIGHBOUR.pack(AF[address.version], device, 0, 0, 0)
    with netlink.connect() as link:
        content += attribute(NDA_DST, address.packed)
        answer = netlink.ask(link, RTM_GETNEIGH, 0, content)
    if answer.failure() == errno.ENOENT:
        return 0
    if failure := answer.failure():
        raise netlink.refusal(f"neighbour {address}", failure, "ip neighbour show")
    return int(NEIGHBOUR.unpack_from(answer.content)[2])
