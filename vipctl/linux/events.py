"""What the kernel announces of changes to what is vipctl's, and of what that stands on.

nftables, policy rules, routes, addresses and links are announced. IPVS, sysctls, ipsets, legacy
tables and the module are not: whoever wants to know has to look.
"""

import _socket as socket
import errno
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from vipctl import files
from vipctl.linux.netlink import (
    NETLINK_NETFILTER,
    SO_RCVBUFFORCE,
    SOL_NETLINK,
    Link,
    attributes,
    is_signed,
    messages,
    ports,
)
from vipctl.linux.nftables.transactions import SUBSYSTEM
from vipctl.linux.routing.localroutes import PROTOCOL, RTM_DELROUTE, RTM_NEWROUTE
from vipctl.linux.routing.rules import FRA_PROTOCOL, RTM_DELRULE, RTM_NEWRULE

BUFFER = 64 << 10  # bytes: netlink's own notifications have at most a page, or 32 KiB
BACKLOG = 8 << 20  # bytes that may wait
MINE = b"vipctl"  # how names of tables begin
NETLINK_ADD_MEMBERSHIP, NETLINK_DROP_MEMBERSHIP = 1, 2  # include/uapi/linux/netlink.h

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

    `prefixes`: of what only a comparison of all prefixes tells. `by` and `pid` are the process that
    did it, if the kernel tells: its name with the number, and the number. Of routing, `pid` is the
    port of a socket, which the kernel gives a process's first one after the process. `ours`: the
    daemon itself did it, or a command.
    """

    what: str
    prefixes: bool = False
    by: str = ""
    pid: int = 0
    ours: bool = False


LOST = Heard("more than could be heard", prefixes=True)


class Source:
    """Announcements of one of netlink's families, from now on."""

    def __init__(
        self, link: Link, groups: Iterable[int], read: Callable[[bytes], Iterator[Heard]]
    ) -> None:
        self.link, self._groups, self._read = link, groups, read
        self.listen()

    def fileno(self) -> int:
        return self.link.fileno()

    def listen(self) -> None:
        self._all_groups(NETLINK_ADD_MEMBERSHIP)

    def stop(self) -> None:
        """Until `listen`, nothing more comes: the kernel makes nothing that nobody wants."""
        self._all_groups(NETLINK_DROP_MEMBERSHIP)

    def _all_groups(self, option: int) -> None:
        for group in self._groups:
            self.link.setsockopt(SOL_NETLINK, option, group)

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
        closing(_roomy(NETLINK_NETFILTER)) as nftables,
        closing(_roomy(socket.NETLINK_ROUTE)) as routing,
    ):
        yield (
            Source(nftables, (NFNLGRP_NFTABLES,), tables.heard),
            Source(routing, GROUPS_OF_ROUTING, of_routing),
        )


def _roomy(protocol: int) -> Link:
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    try:
        link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BACKLOG)
    except PermissionError:  # root of a user namespace: what is lost is heard as such
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BACKLOG)
    link.bind((0, 0))  # one without a port is not told what the kernel itself does
    return link


class Tables:
    """Transactions of nftables: what they change is told first, then who did it."""

    def __init__(self) -> None:
        self._touched: set[str] = set()  # what of ours, in the transaction that is being told
        self._prefixes = False

    def heard(self, buffer: bytes) -> Iterator[Heard]:
        for (kind, _, _, content), port in zip(messages(buffer), ports(buffer), strict=True):
            if kind >> 8 != SUBSYSTEM:
                continue
            if kind & 0xFF != NFT_MSG_NEWGEN:
                self._note(kind & 0xFF, content)
            elif self._touched:
                what = " ".join(sorted(self._touched))
                yield Heard(what, self._prefixes, *_process(content), ours=is_signed(port))
                self._touched, self._prefixes = set(), False

    def _note(self, kind: int, content: bytes) -> None:
        table = _first(content, NFGENMSG, NFTA_TABLE)
        if table.startswith(MINE):
            self._touched.add(f"table {table.rstrip(bytes(1)).decode()}")
            self._prefixes |= kind in (NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM)


def _process(content: bytes) -> tuple[str, int]:
    found = dict(attributes(content, NFGENMSG))
    name = found.get(NFTA_GEN_PROC_NAME, b"").rstrip(b"\0").decode(errors="replace")
    pid = int.from_bytes(found.get(NFTA_GEN_PROC_PID, b""), "big")
    return f"{name}[{pid}]" if name else "", pid


def of_routing(buffer: bytes) -> Iterator[Heard]:
    """Of rules and routes those of our protocol number; of links and addresses any."""
    for (kind, _, _, content), port in zip(messages(buffer), ports(buffer), strict=True):
        if kind in (RTM_NEWRULE, RTM_DELRULE):
            if _first(content, RULE_HEADER, FRA_PROTOCOL) == bytes([PROTOCOL]):
                yield Heard("policy rules", pid=port, ours=is_signed(port))
        elif kind in (RTM_NEWROUTE, RTM_DELROUTE):
            if content[PROTOCOL_AT] == PROTOCOL:
                yield Heard("routes", prefixes=True, pid=port, ours=is_signed(port))
        elif kind in (RTM_NEWLINK, RTM_DELLINK):
            # The routes of one that goes down go unsaid; those of VIPs are lo's.
            index = int.from_bytes(content[INDEX_AT : INDEX_AT + 4], sys.byteorder)
            yield Heard("links", prefixes=index == LOOPBACK)
        elif kind in (RTM_NEWADDR, RTM_DELADDR):
            yield Heard("addresses")


def who(heard: Heard) -> str:
    """The process that did it, if it can be told; one that has ended has no name any more."""
    if heard.by or not heard.pid:
        return heard.by
    try:
        return f"{files.text(f'/proc/{heard.pid}/comm').strip()}[{heard.pid}]"
    except OSError:
        return ""


def _first(content: bytes, at: int, wanted: int) -> bytes:
    return next((value for kind, value in attributes(content, at) if kind == wanted), b"")
