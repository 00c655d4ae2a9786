"""Transactions of nftables: messages, packed by hand, of which the kernel takes all or none.

Numbers are from include/uapi/linux/netfilter/nf_tables.h and nfnetlink.h.
"""

import errno
import os
import struct
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from vipctl.errors import KernelError, Missing, VipctlError
from vipctl.linux import netlink
from vipctl.linux.netlink import attribute, attributes

NFPROTO = {"inet": 1, "arp": 3}  # enum nfproto of include/uapi/linux/netfilter.h
SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
BATCH_BEGIN, BATCH_END = 0x10, 0x11
NEWTABLE, GETTABLE, DELTABLE, NEWCHAIN, GETCHAIN, DELCHAIN, NEWRULE, GETRULE, DELRULE = (
    SUBSYSTEM << 8 | n for n in range(9)
)
NEWSET, GETSET, DELSET, NEWSETELEM, GETSETELEM, DELSETELEM = (
    SUBSYSTEM << 8 | n for n in range(9, 15)
)
GETGEN = SUBSYSTEM << 8 | 16
NEWOBJ, GETOBJ, DELOBJ = (SUBSYSTEM << 8 | n for n in range(18, 21))
GEN_ID = 1  # NFTA_GEN_ID
TABLE, NAME, CHAIN_NAME = 1, 2, 3  # of a set, an object, or of a rule's chain; of a chain
NFGENMSG = struct.Struct(">BBH")  # family, version, resource
LARGEST = 1 << 31  # bytes of a transaction, where the kernel takes so many
ROOM = 1 << 20  # of a socket, beside its messages
FIRST = 2  # sequence number of the first message
WHAT = "nftables"
NOUNS = {
    "chain": (CHAIN_NAME, NEWCHAIN, DELCHAIN),
    "rule in": (NAME, NEWRULE, DELRULE),
    "map": (NAME, NEWSET, DELSET, NEWSETELEM, DELSETELEM),
    "counter": (NAME, NEWOBJ, DELOBJ),
}


class Message(NamedTuple):
    kind: int
    content: bytes
    flags: int = 0


class Owned(NamedTuple):
    """Family and name of a table."""

    family: str
    name: str

    def head(self, names: dict[int, str] | None = None) -> bytes:
        """The beginning of a message on something of the table."""
        called = {TABLE: self.name} | (names or {})
        packed = (attribute(kind, name.encode() + b"\0") for kind, name in called.items())
        return NFGENMSG.pack(NFPROTO[self.family], 0, 0) + b"".join(packed)


def fits(messages: Sequence[Message]) -> bool:
    """Whether the kernel takes them in one transaction; it limits only root of user namespaces."""
    size = _size(messages)
    return size <= _room(size)


def largest() -> int:
    """How many bytes of messages every caller may send in one transaction."""
    return _room(0) - _size(())


def send(messages: Sequence[Message]) -> int:
    """Sends one transaction, or none if there are no messages; returns how many.

    Raises KernelError that names what was refused, or Missing.
    """
    if not messages:
        return 0
    size = _size(messages)
    with netlink.connect(netlink.NETLINK_NETFILTER, WHAT, size + ROOM) as link:
        if size > netlink.room(link):
            raise KernelError(
                f"nftables: {size:,} bytes of rules are more than may be sent at once here",
                hint=f"on the host: sysctl -w net.core.wmem_max={size}",
            )
        netlink.sign(link)
        send_by(link, messages)
    return 1


def send_by(link: netlink.Link, messages: Sequence[Message]) -> None:
    """Sends one transaction of some messages. Raises as `send` does."""
    data = bytearray(_frame(BATCH_BEGIN))
    for number, (kind, content, flags) in enumerate(messages[:-1], FIRST):
        data += netlink.pack(kind, flags, content, number)
    kind, content, flags = messages[-1]
    data += netlink.acknowledging(netlink.pack(kind, flags, content))
    link.sendall(data + _frame(BATCH_END))
    for answer in netlink.failures(link):
        at = -1 if answer.sequence == netlink.LAST else answer.sequence - FIRST
        raise refusal(answer.failure(), _described(messages[at]))


def generation() -> str:
    """The counter of nftables transactions in the network namespace, whoever made them.

    Raises Missing if the kernel has no nftables, or the caller no permission.
    """
    with asking() as link:
        answer = netlink.ask(link, GETGEN, 0, NFGENMSG.pack(0, 0, 0))
        if failure := answer.failure():
            raise unreadable(failure)
        number = dict(attributes(answer.content, NFGENMSG.size))[GEN_ID]
        return f"nftables {int.from_bytes(number)}"


def unreadable(failure: int) -> Missing:
    if failure == errno.EPERM:
        return Missing("nftables: no permission", hint="run as root (CAP_NET_ADMIN)")
    words = f"the kernel has no nftables: {os.strerror(failure)}"
    return Missing(words, hint="modprobe nf_tables")


def refusal(failure: int, what: str) -> VipctlError:
    if failure == errno.EPERM:
        return Missing(
            "nftables: no permission",
            hint="run as root (CAP_NET_ADMIN); or does another program own the table?",
        )
    return netlink.refusal(f"nftables: {what}", failure, "see what is there: nft list ruleset")


def asking() -> AbstractContextManager[netlink.Link]:
    return netlink.connect(netlink.NETLINK_NETFILTER, WHAT)


def _room(size: int) -> int:
    with netlink.connect(netlink.NETLINK_NETFILTER, WHAT, size + ROOM) as link:
        return min(LARGEST, netlink.room(link))


def _frame(kind: int) -> bytes:
    return netlink.pack(kind, 0, NFGENMSG.pack(0, 0, SUBSYSTEM))


def _size(messages: Sequence[Message]) -> int:
    frames = 2 * len(_frame(BATCH_BEGIN))
    return frames + sum(netlink.HEADER.size + len(message.content) for message in messages)


def _described(message: Message) -> str:
    names = dict(attributes(message.content, NFGENMSG.size))
    found = [f"table {_text(names[TABLE])}"]
    for noun, (name, *kinds) in NOUNS.items():
        if message.kind in kinds:
            found.insert(0, f"{noun} {_text(names[name])}")
    return " of ".join(found)


def _text(name: bytes) -> str:
    return name.rstrip(b"\0").decode()
