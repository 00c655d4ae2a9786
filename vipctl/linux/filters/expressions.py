"""What a rule of nftables says of a packet. Pure.

Numbers are from include/uapi/linux/netfilter/nf_tables.h. What is not known of the packet is not
in the registers either; a rule that asks for it may match.
"""

import struct
import sys
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import NamedTuple

from vipctl.errors import KernelError
from vipctl.linux.filters import matches, walk
from vipctl.linux.filters.packet import Device, Packet
from vipctl.linux.filters.walk import Verdict
from vipctl.linux.netlink import attributes

Attributes = Mapping[int, bytes]
Expression = tuple[str, Attributes]
NUMBER = struct.Struct(">I")
CODE = struct.Struct(">i")
HOST = sys.byteorder
VALUE, VERDICT = 1, 2  # NFTA_DATA_*
VERDICTS = {
    0: walk.DROP, 1: walk.ACCEPT, -1: walk.CONTINUE, -3: walk.JUMP, -4: walk.GOTO, -5: walk.RETURN,
}  # fmt: skip
WORD, WORDS = 4, 20
MARK, IIF, OIF, IIFNAME, OIFNAME, NFPROTO, L4PROTO = 3, 4, 5, 6, 7, 15, 16  # NFT_META_*
META_SET, CT_SET = 3, 4  # attributes of a source
NAME_SIZE = 16  # IFNAMSIZ
NETWORK, TRANSPORT = 1, 2  # NFT_PAYLOAD_*
CT_STATE, CT_STATUS = 0, 2
TRANSLATED = 0x30  # IPS_NAT_MASK: nobody is asked about but those
FIB_TYPE, FIB_DESTINATION = 3, 2  # NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_DADDR
FIB_DEVICE, FIB_MARK, FIB_BACK = 1, 4, 41  # NFT_FIB_RESULT_OIF; NFTA_FIB_F_MARK, SADDR|IIF|PRESENT
RTN_UNICAST, RTN_LOCAL, RTN_ANYCAST = 1, 2, 4
INVERTED = 1  # NFT_LOOKUP_F_INV
COMPARISONS: dict[int, Callable[[bytes, bytes], bool]] = {
    0: bytes.__eq__, 1: bytes.__ne__, 2: bytes.__lt__, 3: bytes.__le__, 4: bytes.__gt__,
    5: bytes.__ge__,
}  # fmt: skip
ALTERING = ("notrack",)
SILENT = ("counter", "log", "last")
ASKING = ("limit", "quota", "connlimit", "objref", "rt", "socket", "exthdr", "hash", "numgen")


class Unclear(Exception):
    """Whether a rule matches is not known."""


class Element(NamedTuple):
    """Of a set; data is that of a map. Intervals have an element at their end."""

    key: bytes
    data: bytes = b""
    end: bool = False


class Set(NamedTuple):
    """One that is part of a rule."""

    elements: list[Element]
    interval: bool

    def find(self, key: bytes) -> Element | None:
        if not self.interval:
            return next((e for e in self.elements if e.key == key), None)
        ordered = sorted(self.elements, key=lambda e: (e.key, not e.end))
        at = bisect_right([e.key for e in ordered], key)
        return ordered[at - 1] if at and not ordered[at - 1].end else None


Lookup = Callable[[str], Set | None]


class Registers:
    """Of four bytes each."""

    def __init__(self) -> None:
        self.words: list[bytes | None] = [None] * WORDS
        self.status: bytes | None = None  # where that of the connection is

    def load(self, packed: bytes, size: int) -> bytes:
        words = self.words[_place(packed) :][: (size + 3) // WORD]
        if None in words or len(words) * WORD < size:
            raise Unclear
        return b"".join(word for word in words if word)[:size]

    def store(self, packed: bytes, value: bytes) -> None:
        at = _place(packed)
        self.status = None if self.status == packed else self.status
        for start in range(0, len(value), WORD):
            self.words[at + start // WORD] = value[start : start + WORD].ljust(WORD, b"\0")

    def forget(self) -> None:
        self.words = [None] * WORDS


def judged(expressions: list[Expression], lookup: Lookup, packet: Packet) -> Verdict:
    """What becomes of a packet; CONTINUE if the rule does not match."""
    registers, sure, verdict = Registers(), True, Verdict()
    for name, parts in expressions:
        try:
            found = _step(name, parts, registers, lookup, packet)
        except Unclear:
            registers.forget()
            sure = False
            continue
        except (
            KernelError,
            LookupError,
            ValueError,
            struct.error,
        ):  # of a kind that is not known here
            return Verdict(walk.UNKNOWN)
        if found is False:
            return Verdict()
        if isinstance(found, Verdict):
            verdict = found
    return verdict._replace(sure=sure)


def _step(
    name: str, parts: Attributes, registers: Registers, lookup: Lookup, packet: Packet
) -> bool | Verdict:
    """False for no match. Raises Unclear."""
    if name == "lookup":
        return _looked_up(parts, registers, lookup)
    if name in ("match", "target"):
        return _extension(name, parts, packet)
    if name in _STEPS:
        return _STEPS[name](parts, registers, packet)
    if name in ASKING:
        raise Unclear
    if name in ALTERING:
        return Verdict(walk.ALTERS)
    return True if name in SILENT else Verdict(walk.UNKNOWN)


def _meta(parts: Attributes, registers: Registers, packet: Packet) -> bool | Verdict:
    key = _number(parts[2])
    if META_SET in parts:
        return Verdict(walk.UNKNOWN) if key == MARK else True
    known = {
        MARK: None if packet.mark is None else packet.mark.to_bytes(WORD, HOST),
        IIF: packet.arriving and packet.arriving.number.to_bytes(WORD, HOST),
        OIF: packet.leaving and packet.leaving.number.to_bytes(WORD, HOST),
        IIFNAME: _name(packet.arriving),
        OIFNAME: _name(packet.leaving),
        NFPROTO: bytes([2 if packet.version == 4 else 10]),
        L4PROTO: None if packet.protocol is None else bytes([packet.protocol]),
    }.get(key)
    return _stored(parts[1], known, registers)


def _name(device: Device | None) -> bytes | None:
    return None if device is None else device.name.encode().ljust(NAME_SIZE, b"\0")


def _payload(parts: Attributes, registers: Registers, packet: Packet) -> bool | Verdict:
    if 1 not in parts:  # it writes
        return Verdict(walk.UNKNOWN)
    base, offset, size = (_number(parts[n]) for n in (2, 3, 4))
    header = {NETWORK: packet.network(), TRANSPORT: packet.transport()}.get(base, [])
    some = [byte for byte in header[offset : offset + size] if byte is not None]
    return _stored(parts[1], bytes(some) if len(some) == size else None, registers)


def _ct(parts: Attributes, registers: Registers, packet: Packet) -> bool | Verdict:
    if CT_SET in parts:
        return True
    key = _number(parts[2])
    known = packet.state if key == CT_STATE else None
    if key == CT_STATUS and packet.state is not None:
        registers.status = parts[1]
    return _stored(parts[1], None if known is None else known.to_bytes(WORD, HOST), registers)


def _fib(parts: Attributes, registers: Registers, packet: Packet) -> bool | Verdict:
    result, flags = _number(parts[2]), _number(parts[3])
    known = None
    if (result, flags) == (FIB_TYPE, FIB_DESTINATION) and packet.local is not None:
        kind = (RTN_ANYCAST if packet.anycast else RTN_LOCAL) if packet.local else RTN_UNICAST
        known = kind.to_bytes(WORD, HOST)
    elif (result, flags & ~FIB_MARK) == (FIB_DEVICE, FIB_BACK) and packet.returns is not None:
        asked = packet.mark == 0 or not flags & FIB_MARK
        known = bytes([packet.returns]) if asked else None
    return _stored(parts[1], known, registers)


def _stored(register: bytes, value: bytes | None, registers: Registers) -> bool:
    if value is None:
        raise Unclear
    registers.store(register, value)
    return True


def _compared(parts: Attributes, registers: Registers, _: Packet) -> bool:
    wanted = _value(parts[3])
    return COMPARISONS[_number(parts[2])](registers.load(parts[1], len(wanted)), wanted)


def _ranged(parts: Attributes, registers: Registers, _: Packet) -> bool:
    low, high = _value(parts[3]), _value(parts[4])
    inside = low <= registers.load(parts[1], len(low)) <= high
    return inside is not bool(_number(parts[2]))


def _masked(parts: Attributes, registers: Registers, _: Packet) -> bool:
    if _number(parts.get(6, bytes(WORD))):  # a shift
        raise Unclear
    mask, xor = _value(parts[4]), _value(parts[5])
    asked = int.from_bytes(mask, HOST)
    untranslated = registers.status == parts[1] and not asked & ~TRANSLATED
    value = bytes(WORD) if untranslated else registers.load(parts[1], _number(parts[3]))
    found = bytes(a & b ^ c for a, b, c in zip(value, mask, xor, strict=True))
    return _stored(parts[2], found, registers)


def _reordered(parts: Attributes, registers: Registers, _: Packet) -> bool:
    length, size = _number(parts[4]), _number(parts[5])
    value = registers.load(parts[1], length)
    step = -1 if HOST == "little" else 1
    found = b"".join(value[at : at + size][::step] for at in range(0, len(value), size))
    return _stored(parts[2], found, registers)


def _immediate(parts: Attributes, registers: Registers, _: Packet) -> bool | Verdict:
    return _given(parts[1], parts[2], registers)


def _given(register: bytes, data: bytes, registers: Registers) -> bool | Verdict:
    """A verdict, or a value for a register."""
    found = dict(attributes(data, 0))
    if VERDICT not in found:
        return _stored(register, found[VALUE], registers)
    said = dict(attributes(found[VERDICT], 0))
    kind = VERDICTS.get(CODE.unpack(said[1])[0], walk.UNKNOWN)
    return Verdict(kind, said.get(2, b"").rstrip(b"\0").decode(errors="replace"))


def _looked_up(parts: Attributes, registers: Registers, lookup: Lookup) -> bool | Verdict:
    mapped = 3 in parts
    decides = mapped and not _number(parts[3])
    try:
        known = lookup(parts[1].rstrip(b"\0").decode(errors="replace"))
        if known is None or not known.elements:
            raise Unclear
        found = known.find(registers.load(parts[2], len(known.elements[0].key)))
    except Unclear:
        if decides:
            return Verdict(walk.UNKNOWN)
        raise
    if mapped:
        return _given(parts[3], found.data, registers) if found else False
    return bool(found) is not bool(_number(parts.get(5, bytes(WORD))) & INVERTED)


def _extension(name: str, parts: Attributes, packet: Packet) -> bool | Verdict:
    """A match or a target of iptables."""
    called = parts[1].rstrip(b"\0").decode(errors="replace")
    if name == "target":
        return matches.target(called)
    found = matches.match(called, _number(parts[2]), parts[3], packet)
    if found is None:
        raise Unclear
    return found


def _rejected(*_: object) -> Verdict:
    return Verdict(walk.DROP)


def _value(data: bytes) -> bytes:
    return dict(attributes(data, 0))[VALUE]


def _number(packed: bytes) -> int:
    return int(NUMBER.unpack(packed)[0])


def _place(packed: bytes) -> int:
    """Registers 1 to 4 have four words, those from 8 on one."""
    register = _number(packed)
    return (register - 1) * 4 if register < 8 else register - 8


_STEPS: dict[str, Callable[[Attributes, Registers, Packet], bool | Verdict]] = {
    "meta": _meta,
    "payload": _payload,
    "ct": _ct,
    "fib": _fib,
    "cmp": _compared,
    "range": _ranged,
    "bitwise": _masked,
    "byteorder": _reordered,
    "immediate": _immediate,
    "reject": _rejected,
}
