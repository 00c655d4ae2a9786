"""Policy-routing rules, with all that the kernel says of each.

Numbers are from include/uapi/linux/fib_rules.h.
"""

import struct
import sys
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import NamedTuple

from vipctl.addresses.prefixes import AF, VERSIONS
from vipctl.linux import dumps, netlink
from vipctl.linux.netlink import attribute
from vipctl.linux.routing.localroutes import PROTOCOL

FR_ACT_TO_TBL, FR_ACT_GOTO, FR_ACT_NOP, FR_ACT_BLACKHOLE = 1, 2, 3, 6
ACTIONS = {FR_ACT_NOP: "nop", FR_ACT_BLACKHOLE: "blackhole", 7: "unreachable", 8: "prohibit"}
FIB_RULE_INVERT = 2
FRA_DST, FRA_SRC, FRA_IIFNAME, FRA_GOTO, FRA_PRIORITY, FRA_FWMARK = 1, 2, 3, 4, 6, 10
FRA_SUPPRESS_PREFIXLEN, FRA_TABLE, FRA_FWMASK, FRA_PAD, FRA_L3MDEV = 14, 15, 16, 18, 19
FRA_PROTOCOL = 21
FRA_OIFNAME = 17
FORMS = {  # how other attributes are written, and packed
    11: ("realms", "=I"), 12: ("tun_id", ">Q"), 13: ("suppress_ifgroup", "=I"),
    FRA_SUPPRESS_PREFIXLEN: ("suppress_prefixlength", "=I"), 20: ("uidrange", "=II"),
    22: ("ipproto", "=B"), 23: ("sport", "=HH"), 24: ("dport", "=HH"), 25: ("dscp", "=B"),
}  # fmt: skip
NO_SUPPRESSION = b"\xff\xff\xff\xff"
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34  # include/uapi/linux/rtnetlink.h
RTMGRP_RULES = 1 << 8 - 1 | 1 << 19 - 1  # of IPv4 and IPv6
RULE = struct.Struct("=BBBBBxxBI")  # family, lengths of to and from, tos, table, action, flags

Interface = IPv4Interface | IPv6Interface


class Rule(NamedTuple):
    """One rule. vipctl's own rules do not use the fields from `inverted` to `more`."""

    version: int
    priority: int
    action: int
    mark: int = 0
    mask: int = 0
    table: int = 0
    goto: int = 0
    iif: str = ""
    inverted: bool = False
    source: Interface | None = None
    destination: Interface | None = None
    tos: int = 0
    more: tuple[tuple[int, bytes], ...] = ()
    protocol: int = PROTOCOL

    def __str__(self) -> str:
        words = [f"ip -{self.version} rule pref {self.priority}"]
        words += ["not"] if self.inverted else []
        words += [f"from {self.source}"] if self.source else []
        words += [f"to {self.destination}"] if self.destination else []
        words += [f"tos {self.tos:#x}"] if self.tos else []
        words += [f"fwmark {self.mark:#x}/{self.mask:#x}"] if self.mask else []
        words += [f"iif {self.iif}"] if self.iif else []
        words += [text for kind, value in self.more if (text := _text(kind, value))]
        return " ".join([*words, self._action()])

    def _action(self) -> str:
        if self.l3mdev():
            return "l3mdev"
        known = {FR_ACT_TO_TBL: f"lookup {self.table}", FR_ACT_GOTO: f"goto {self.goto}"}
        return (known | ACTIONS).get(self.action, f"action {self.action}")

    def l3mdev(self) -> bool:
        """Whether it looks up the table of the VRF that a packet came by."""
        return any(kind == FRA_L3MDEV for kind, _ in self.more)

    def has_mark(self, mark: int) -> bool:
        """Whether the rule matches packets with this mark."""
        return mark & self.mask == self.mark

    def packed(self) -> bytes:
        numbers = {
            FRA_PRIORITY: self.priority,
            FRA_FWMARK: self.mark,
            FRA_FWMASK: self.mask,
            FRA_TABLE: self.table,
            FRA_GOTO: self.goto,
        }
        found = [(kind, netlink.NUMBER.pack(n)) for kind, n in numbers.items() if n]
        found += [(FRA_IIFNAME, self.iif.encode() + b"\0")] if self.iif else []
        ends = ((FRA_DST, self.destination), (FRA_SRC, self.source))
        found += [(kind, end.ip.packed) for kind, end in ends if end]
        lengths = (end.network.prefixlen if end else 0 for _, end in ends)
        flags = FIB_RULE_INVERT if self.inverted else 0
        header = RULE.pack(AF[self.version], *lengths, self.tos, 0, self.action, flags)
        found += [*self.more, (FRA_PROTOCOL, bytes([self.protocol]))]
        return header + b"".join(attribute(*each) for each in found)


def _text(kind: int, value: bytes) -> str:
    if kind == FRA_OIFNAME:
        return "oif " + value.rstrip(b"\0").decode(errors="replace")
    if kind not in FORMS:
        return ""
    name, form = FORMS[kind]
    return f"{name} " + "-".join(dict.fromkeys(map(str, struct.unpack(form, value))))


def read() -> list[Rule]:
    """All rules, whoever made them, in the order in which the kernel looks at them.

    If others change rules all the time, some that have just gone may be among them. Raises
    KernelError.
    """
    found = (_rule(content) for content in dumps.staying(_dumped))
    return sorted(found, key=lambda rule: (rule.version, rule.priority))


def _dumped() -> tuple[list[bytes], bool]:
    """The rules, and whether none changed meanwhile: the kernel's news tell, a dump does not."""
    with netlink.connect() as link, netlink.connect() as news:
        news.bind((0, RTMGRP_RULES))
        found = [content for version in VERSIONS for content in _of_version(link, version)]
        return found, not dumps.heard(news)


def _of_version(link: netlink.Link, version: int) -> Iterator[bytes]:
    """A kernel without IPv6 answers a request for IPv6 with the rules of all families."""
    request = RULE.pack(AF[version], 0, 0, 0, 0, 0, 0)
    dumped = dumps.dump(link, RTM_GETRULE, request)
    return (content for content in dumped if content[0] == AF[version])


def _rule(content: bytes) -> Rule:
    family, to_length, from_length, tos, _, action, flags = RULE.unpack_from(content)
    found = dict(netlink.attributes(content, RULE.size))
    if found.get(FRA_SUPPRESS_PREFIXLEN) == NO_SUPPRESSION:
        del found[FRA_SUPPRESS_PREFIXLEN]
    numbers = (FRA_PRIORITY, FRA_FWMARK, FRA_FWMASK, FRA_TABLE, FRA_GOTO)
    priority, mark, mask, table, goto = (_number(found.pop(kind, b"")) for kind in numbers)
    iif = found.pop(FRA_IIFNAME, b"").rstrip(b"\0").decode(errors="replace")
    source, destination = (
        ip_interface((packed, length)) if (packed := found.pop(kind, b"")) else None
        for kind, length in ((FRA_SRC, from_length), (FRA_DST, to_length))
    )
    protocol = _number(found.pop(FRA_PROTOCOL, b""))
    found.pop(FRA_PAD, None)
    return Rule(
        4 if family == AF[4] else 6, priority, action, mark, mask, table, goto, iif,
        bool(flags & FIB_RULE_INVERT),
        source, destination, tos, tuple(sorted(found.items())), protocol,
    )  # fmt: skip


def _number(packed: bytes) -> int:
    return int.from_bytes(packed, sys.byteorder)
