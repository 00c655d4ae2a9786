"""A packet that nobody has sent: what is known of it where a hook sees it. Pure.

Numbers are from include/uapi/linux/netfilter.h, in.h and netfilter/nf_conntrack_common.h.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from vipctl.addresses.prefixes import IPAddress

TCP, UDP = 6, 17
ICMP6, SOLICITATION = 58, 135 << 8  # its type and code, in the place of a port
INVALID, ESTABLISHED, NEW, UNTRACKED = 1, 2, 8, 64  # NF_CT_STATE_BIT()
LENGTH = {4: 20, 6: 40}  # of an IP header
PLACES = {4: (9, 12, 16), 6: (6, 8, 24)}  # in it: of the protocol, the source, the destination


class Hook(IntEnum):
    """By its number."""

    PREROUTING = 0
    INPUT = 1
    FORWARD = 2
    OUTPUT = 3
    POSTROUTING = 4


class Device(NamedTuple):
    """Of the network."""

    number: int = 0
    name: str = ""


NOWHERE = Device()


class Packet(NamedTuple):
    """None is what is not known. `state` is that of its connection; `local`, whether its
    destination is an address of the director; `anycast`, whether to nftables it is none, as it is
    the first of a local prefix of IPv6; `returns`, whether the route to its source, without a mark,
    leads by the device that it comes by.
    """

    hook: Hook
    version: int
    protocol: int | None
    source: IPAddress | None = None
    destination: IPAddress | None = None
    sport: int | None = None
    dport: int | None = None
    mark: int | None = None
    arriving: Device | None = None
    leaving: Device | None = None
    state: int | None = None
    local: bool | None = None
    anycast: bool = False
    returns: bool | None = None

    def network(self) -> list[int | None]:
        """The bytes of its IP header, as far as they are known."""
        at_protocol, at_source, at_destination = PLACES[self.version]
        found: list[int | None] = [None] * LENGTH[self.version]
        found[at_protocol] = self.protocol
        for at, known in ((at_source, self.source), (at_destination, self.destination)):
            if known is not None:
                found[at : at + len(known.packed)] = known.packed
        return found

    def transport(self) -> list[int | None]:
        """The bytes of its ports."""
        found: list[int | None] = []
        for port in (self.sport, self.dport):
            found += [None, None] if port is None else struct.pack(">H", port)
        return found
