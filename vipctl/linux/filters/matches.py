"""Matches and targets of iptables: of the legacy tables, and of iptables-nft. Pure.

Structures are those of include/uapi/linux/netfilter/xt_*.h. Each match says True, False, or None
where that depends on what is not known.
"""

import struct
from collections.abc import Callable

from vipctl.linux.filters import walk
from vipctl.linux.filters.packet import UNTRACKED, Packet
from vipctl.linux.filters.walk import Verdict

Sure = bool | None
MARK = struct.Struct("=IIB")  # xt_mark_mtinfo1
PORTS = struct.Struct("=HHHH")
CONNTRACK = struct.Struct("=HHHH")  # match flags, inverted, states, statuses
CONNTRACK_AT, STATE_ONLY = 146, 1
XT_UNTRACKED = {"state": 64, "conntrack": 256}
ADDRTYPE = struct.Struct("=HHI")  # xt_addrtype_info_v1
LOCAL, ADDRTYPE_NOT_DESTINATION = 1 << 2, 2
HARMLESS = ("LOG", "NFLOG", "TCPMSS", "TRACE", "DSCP", "TOS", "RATEEST")  # none sets a mark


def both(*found: Sure) -> Sure:
    """Whether all are true."""
    if False in found:
        return False
    return None if None in found else True


def negated(found: Sure, inverted: object) -> Sure:
    return found if found is None or not inverted else not found


def within(value: int | None, low: int, high: int) -> Sure:
    if (low, high) == (0, 0xFFFF):
        return True
    return None if value is None else low <= value <= high


def target(name: str) -> Verdict:
    """Of one that the kernel has no verdict for."""
    if name == "REJECT":
        return Verdict(walk.DROP)
    return Verdict() if name in HARMLESS else Verdict(walk.UNKNOWN)


def match(name: str, revision: int, data: bytes, packet: Packet) -> Sure:
    """Of one that is not known, None."""
    try:
        return _MATCHES[name](revision, data, packet) if name in _MATCHES else None
    except (struct.error, ValueError, LookupError):
        return None


def _mark(revision: int, data: bytes, packet: Packet) -> Sure:
    mark, mask, inverted = MARK.unpack_from(data)
    if packet.mark is None or revision != 1:
        return None
    return negated((packet.mark & mask) == mark, inverted)


def _tcp(_: int, data: bytes, packet: Packet) -> Sure:
    option, flags, _, inverted = struct.unpack_from("=4B", data, PORTS.size)
    return both(None if option or flags else True, _ports(data, inverted, packet))


def _udp(_: int, data: bytes, packet: Packet) -> Sure:
    return _ports(data, data[PORTS.size], packet)


def _ports(data: bytes, inverted: int, packet: Packet) -> Sure:
    low, high, first, last = PORTS.unpack_from(data)
    source = negated(within(packet.sport, low, high), inverted & 1)
    return both(source, negated(within(packet.dport, first, last), inverted & 2))


def _multiport(_: int, data: bytes, packet: Packet) -> Sure:
    which, count = data[:2]
    ports = struct.unpack_from("=15H", data, 2)
    ranged, inverted = data[32:47], data[47]
    port = {0: packet.sport, 1: packet.dport}.get(which)
    if port is None:
        return None
    found, at = False, 0
    while at < count:
        end = ports[at + 1] if ranged[at] else ports[at]
        found |= ports[at] <= port <= end
        at += 2 if ranged[at] else 1
    return negated(found, inverted)


def _conntrack(revision: int, data: bytes, packet: Packet) -> Sure:
    if revision < 2:
        return None
    looked_at, inverted, states, _ = CONNTRACK.unpack_from(data, CONNTRACK_AT)
    return _state("conntrack", states, packet, inverted) if looked_at == STATE_ONLY else None


def _old_state(_: int, data: bytes, packet: Packet) -> Sure:
    (states,) = struct.unpack_from("=I", data)
    return _state("state", states, packet)


def _state(name: str, states: int, packet: Packet, inverted: int = 0) -> Sure:
    if packet.state is None:
        return None
    mine = XT_UNTRACKED[name] if packet.state == UNTRACKED else packet.state
    return negated(bool(states & mine), inverted)


def _addrtype(revision: int, data: bytes, packet: Packet) -> Sure:
    source, destination, flags = ADDRTYPE.unpack_from(data)
    if revision != 1 or source or flags & ~ADDRTYPE_NOT_DESTINATION or packet.local is None:
        return None
    if destination & LOCAL and destination != LOCAL:
        return None
    mine = packet.local if destination == LOCAL else False
    return negated(mine, flags & ADDRTYPE_NOT_DESTINATION)


_MATCHES: dict[str, Callable[[int, bytes, Packet], Sure]] = {
    "mark": _mark,
    "tcp": _tcp,
    "udp": _udp,
    "multiport": _multiport,
    "conntrack": _conntrack,
    "state": _old_state,
    "addrtype": _addrtype,
    "comment": lambda *_: True,
}
