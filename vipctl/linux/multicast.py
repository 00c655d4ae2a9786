"""Who listens to multicast, as the kernel lists it."""

import sys
from ipaddress import IPv4Address

from vipctl import files

IGMP = "/proc/net/igmp"


def heard(group: IPv4Address, device: str) -> bool:
    """Whether somebody, such as a backup daemon of IPVS, listens to a group on a device.

    Who began on one that has been deleted does not listen on the next one of its name.
    """
    return _listed(group, device, files.text(IGMP).splitlines())


def _listed(group: IPv4Address, device: str, lines: list[str]) -> bool:
    """Devices are lines such as "2	eth0      :     1      V3", their groups are indented."""
    wanted, inside = f"{int.from_bytes(group.packed, sys.byteorder):08X}", False
    for line in lines[1:]:
        words = line.split()
        if not line[0].isspace():
            inside = words[1].rstrip(":") == device
        elif inside and words[0] == wanted:
            return True
    return False
