"""What becomes of packets that come: nftables' own trace of a few of them, for a while.

The rule that asks for it is in a table that belongs to a socket: the kernel removes both at once
when the socket is closed, however its process ends. The table's other chains are empty, and show
how far a packet has come: each that it passes is told.

Numbers are from include/uapi/linux/netfilter/nf_tables.h and nfnetlink.h.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from vipctl.linux import netlink
from vipctl.linux.netlink import NLM_F_CREATE, SOL_NETLINK, attribute, attributes
from vipctl.linux.nftables import drafts, replay
from vipctl.linux.nftables.listing import NUMBER, TABLE_FLAGS, text
from vipctl.linux.nftables.transactions import (
    NEWTABLE,
    NFGENMSG,
    SUBSYSTEM,
    Message,
    Owned,
    asking,
    send_by,
)

TABLE, DRAFT = Owned("inet", "vipctl_trace"), Owned("inet", "vipctl_draft")
NFT_TABLE_F_OWNER = 2
NFNLGRP_NFTRACE, NETLINK_ADD_MEMBERSHIP = 9, 1
TRACE = SUBSYSTEM << 8 | 17  # NFT_MSG_TRACE
IN_TABLE, IN_CHAIN, HANDLE, KIND, VERDICT, ID, IIF, OIF, POLICY = 1, 2, 3, 4, 5, 6, 10, 12, 16
BY_POLICY, BY_RULE = 1, 3  # NFT_TRACETYPE_*
VERDICT_CODE, DROP = 1, 0
FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}  # enum nfproto
# Chains of the table, by the priority of their hooks. IPVS is at 98, behind a chain of the same
# priority that came later, and at 99.
CAME, SENT, ENTERED, BEFORE, BEHIND, PASSES, LEAVES = (
    "came", "sent", "entered", "before_ipvs", "behind_ipvs", "passes", "leaves",
)  # fmt: skip
HOOKS = {
    CAME: "prerouting priority -450", SENT: "output priority -450",
    ENTERED: "input priority -450", BEFORE: "input priority 98", BEHIND: "input priority 100",
    PASSES: "forward priority -450", LEAVES: "postrouting priority 1000",
}  # fmt: skip
OUTSIDE = (SENT, LEAVES)  # what IPVS has put into a tunnel is another packet
LIMIT = "limit rate 5/second burst 5 packets"
QUIET = 0.5  # seconds without news, after which a packet has come as far as it comes
BUFFER = 1 << 16


class Event(NamedTuple):
    """A packet, by its number, at a chain; `drops` if that is where it ended."""

    packet: int
    table: str  # family and name
    chain: str
    rule: int  # its handle; 0: the chain's end
    drops: bool
    device: int  # by which it leaves; 0 also where that was told already

    @property
    def milestone(self) -> str:
        """The chain of ours, "" if it is somebody's."""
        return self.chain if self.table == f"{TABLE.family} {TABLE.name}" else ""


def first(matches: str, at: str, seconds: float) -> list[Event]:
    """The way of the first packet that matches at a hook; nothing if none comes in that time.

    Raises KernelError, or Missing.
    """
    with asking() as link, _traced(matches, at):
        link.bind((0, 0))  # what has no port hears nothing
        link.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTRACE)
        return _of_first(link, time.monotonic() + seconds)


@contextmanager
def _traced(matches: str, at: str) -> Iterator[None]:
    chains = {
        name: [f"{matches} {LIMIT} meta nftrace set 1"] if name == at else [] for name in HOOKS
    }
    drawn = _drawn(chains)
    with asking() as owner:
        netlink.sign(owner)
        flags = attribute(TABLE_FLAGS, NUMBER.pack(NFT_TABLE_F_OWNER))
        made = Message(NEWTABLE, TABLE.head() + flags, NLM_F_CREATE)
        send_by(owner, [made, *drawn.chains(TABLE, chains), *drawn.rules(TABLE)])
        yield


def _drawn(chains: dict[str, list[str]]) -> replay.Drawn:
    blocks = "".join(
        f"chain {name} {{ type filter hook {HOOKS[name]}; {'; '.join(lines)}; }}\n"
        for name, lines in chains.items()
    )
    table = f"{DRAFT.family} {DRAFT.name}"
    gone = f"delete table {table}\n"
    words = f"add table {table}\n{gone}table {table} {{ flags dormant;\n{blocks}}}\n"
    return drafts.carried_out(words, lambda: replay.Drawn.read(DRAFT, chains, 0), gone)


def _of_first(link: netlink.Link, deadline: float) -> list[Event]:
    found: list[Event] = []
    while (left := deadline - time.monotonic()) > 0:
        link.settimeout(min(left, QUIET) if found else left)
        try:
            heard = list(_events(link.recv(BUFFER)))
        except TimeoutError:
            break
        number = (found or heard)[0].packet if found or heard else 0
        found += [event for event in heard if event.packet == number or event.milestone in OUTSIDE]
    return found


def _events(buffer: bytes) -> Iterator[Event]:
    for message in netlink.messages(buffer):
        if message.kind == TRACE:
            yield _event(message.content)


def _event(content: bytes) -> Event:
    family, *_ = NFGENMSG.unpack_from(content)
    found = dict(attributes(content, NFGENMSG.size))
    table = f"{FAMILIES.get(family, family)} {text(found[IN_TABLE])}"
    rule = int.from_bytes(found.get(HANDLE, b""), "big")
    return Event(
        _number(found[ID]),
        table,
        text(found.get(IN_CHAIN, b"")),
        rule,
        _drops(found),
        _number(found.get(OIF, bytes(4))),
    )


def _drops(found: dict[int, bytes]) -> bool:
    if _number(found[KIND]) == BY_POLICY:
        return POLICY in found and _number(found[POLICY]) == DROP
    said = dict(attributes(found.get(VERDICT, b""), 0))
    return VERDICT_CODE in said and _number(said[VERDICT_CODE]) == DROP


def _number(packed: bytes) -> int:
    return int(NUMBER.unpack(packed)[0])
