"""What the kernel announces of changes to what is vipctl's, and of what that stands on.

nftables, policy rules, routes, addresses and links are announced. IPVS, sysctls, ipsets, legacy
tables and the module are not: whoever wants to know has to look.
"""

import _socket as socket
import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from vipctl.linux.netlink import NETLINK_NETFILTER, SO_RCVBUFFORCE, Link, attributes, messages
from vipctl.linux.nftables.transactions import SUBSYSTEM
from vipctl.linux.routing.localroutes import PROTOCOL, RTM_DELROUTE, RTM_NEWROUTE
from vipctl.linux.routing.rules import FRA_PROTOCOL, RTM_DELRULE, RTM_NEWRULE

BUFFER = 64 << 10  # bytes: netlink's own notifications have at most a page, or 32 KiB
BACKLOG = 8 << 20  # bytes that may wait
MINE = b"vipctl"  # how names of tables begin

# include/uapi/linux/rtnetlink.h: enum rtnetlink_groups, types of messages
GROUPS_OF_ROUTING = (1, 5, 7, 8, 9, 11, 19)  # links; addresses, routes, rules of IPv4 and IPv6
RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR = 16, 17, 20, 21
RULE_HEADER = 12  # bytes of struct fib_rule_hdr; include/uapi/linux/fib_rules.h
PROTOCOL_AT = 5  # in struct rtmsg
INDEX_AT, LOOPBACK = 4, 1  # in struct ifinfomsg; LOOPBACK_IFINDEX of include/net/flow.h

# include/uapi/linux/netfilter/nfnetlink.h and nf_tables.h
NFNLGRP_NFTABLES = 7
NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM, NFT_MSG_NEWGEN = 12, 14, 15
NFTA_TABLE = 1  # the name of the table, in the messages of whatever is in one
NFTA_GEN_PROC_PID, NFTA_GEN_PROC_NAME = 2, 3
NFGENMSG = 4  # struct nfgenmsg


class Heard(NamedTuple):
    """Something may be other than before.

    `prefixes`: of what only a comparison of all prefixes tells. `by` is the process that did it,
    if the kernel tells.
    """

    what: str
    prefixes: bool = False
    by: str = ""


LOST = Heard("more than could be heard", prefixes=True)


class Source:
    """Announcements of one of netlink's families."""

    def __init__(self, link: Link, read: Callable[[bytes], Iterator[Heard]]) -> None:
        self.link, self._read = link, read

    def fileno(self) -> int:
        return self.link.fileno()

    def heard(self) -> Iterator[Heard]:
        """All that waits; it never blocks."""
        while True:
            try:
                buffer = self.link.recv(BUFFER, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as e:
                if e.errno != errno.ENOBUFS:
                    raise
                yield LOST
            else:
                yield from self._read(buffer)


@contextmanager
def listening() -> Iterator[tuple[Source, ...]]:
    """To all, from now on, in the network namespace of the calling thread."""
    tables = Tables()
    with (
        closing(_subscribed(NETLINK_NETFILTER, (NFNLGRP_NFTABLES,))) as nftables,
        closing(_subscribed(socket.NETLINK_ROUTE, GROUPS_OF_ROUTING)) as routing,
    ):
        yield Source(nftables, tables.heard), Source(routing, of_routing)


def _subscribed(protocol: int, groups: tuple[int, ...]) -> Link:
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    try:
        link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BACKLOG)
    except PermissionError:  # root of a user namespace: what is lost is heard as such
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BACKLOG)
    link.bind((0, sum(1 << group - 1 for group in groups)))
    return link


class Tables:
    """Transactions of nftables: what they change is told first, then who did it."""

    def __init__(self) -> None:
        self._touched: set[str] = set()  # what of ours, in the transaction that is being told
        self._prefixes = False

    def heard(self, buffer: bytes) -> Iterator[Heard]:
        for kind, _, _, content in messages(buffer):
            if kind >> 8 != SUBSYSTEM:
                continue
            if kind & 0xFF != NFT_MSG_NEWGEN:
                self._note(kind & 0xFF, content)
            elif self._touched:
                yield Heard(" ".join(sorted(self._touched)), self._prefixes, _process(content))
                self._touched, self._prefixes = set(), False

    def _note(self, kind: int, content: bytes) -> None:
        table = _first(content, NFGENMSG, NFTA_TABLE)
        if table.startswith(MINE):
            self._touched.add(f"table {table.rstrip(bytes(1)).decode()}")
            self._prefixes |= kind in (NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM)


def _process(content: bytes) -> str:
    found = dict(attributes(content, NFGENMSG))
    name = found.get(NFTA_GEN_PROC_NAME, b"").rstrip(b"\0").decode(errors="replace")
    pid = int.from_bytes(found.get(NFTA_GEN_PROC_PID, b""), "big")
    return f"{name}[{pid}]" if name else ""


def of_routing(buffer: bytes) -> Iterator[Heard]:
    """Of rules and routes those of our protocol number; of links and addresses any."""
    for kind, _, _, content in messages(buffer):
        if kind in (RTM_NEWRULE, RTM_DELRULE):
            if _first(content, RULE_HEADER, FRA_PROTOCOL) == bytes([PROTOCOL]):
                yield Heard("policy rules")
        elif kind in (RTM_NEWROUTE, RTM_DELROUTE):
            if content[PROTOCOL_AT] == PROTOCOL:
                yield Heard("routes", prefixes=True)
        elif kind in (RTM_NEWLINK, RTM_DELLINK):
            # The routes of one that goes down go unsaid; those of VIPs are lo's.
            index = int.from_bytes(content[INDEX_AT : INDEX_AT + 4], sys.byteorder)
            yield Heard("links", prefixes=index == LOOPBACK)
        elif kind in (RTM_NEWADDR, RTM_DELADDR):
            yield Heard("addresses")


def _first(content: bytes, at: int, wanted: int) -> bytes:
    return next((value for kind, value in attributes(content, at) if kind == wanted), b"")
