"""What every cell has to come to: "yes", but for the deviations listed here.

The sentence of a deviation is for the operator: docs/methods.md prints it as a footnote.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.conformance.cell import Cell
from tests.conformance.checks import YES

PATIENCE = {True: 15.0, False: 2.5}  # seconds: where an answer is expected, and where none is


@dataclass(frozen=True, slots=True)
class Deviation:
    """Cells that come to another word, and why. A cell has all of `where`; empty is any cell."""

    check: str
    where: str
    word: str
    because: str

    def is_about(self, cell: Cell) -> bool:
        """Tell whether a cell is one of those."""
        return cell.check == self.check and (not self.where or cell.has(self.where))


NO_IPV4_ERRORS = (
    "An ICMP error about an IPv4 packet for a VIP would have the VIP as its source, which is no "
    "address of the director: the kernel cannot send it, and the client waits."
)
NO_MARTIANS = (
    "Linux does not look for its own addresses among the sources of IPv6 packets, whether for a "
    "VIP or for an address of the director."
)
NO_RP_FILTER = "Linux has no rp_filter for IPv6; a firewall with `fib saddr . iif` does the same."
TUN_TOO_BIG = (
    "A tunnel takes 40 bytes of each packet and IPv6 routers do not fragment: the first large "
    'datagram of a client is answered with "packet too big", the following ones fit.'
)
TUN_FRAGMENTS = (
    "With net.ipv4.vs.pmtu_disc=0, which tun needs, the director fragments what it wraps, so that "
    "clients need not know."
)
PROXY_ENDS = "The connection ends on the director: nothing narrower follows."
TRACKED_NAT = (
    "To the firewall the answers of real servers belong to no connection unless "
    "net.ipv4.vs.conntrack=1 makes IPVS tell of its own."
)
TRACKED_DIRECT = (
    "Connection tracking, where net.ipv4.vs.conntrack=1 lets it see IPVS's connections, sees one "
    "direction of them only and takes the rest for invalid."
)
GO_AROUND = (
    "The director's own packets leave for the upstream, which sends them back; IPv4 refuses them "
    "then for their source, an address of the director."
)
SAYS_VIP = (
    "The director's error has the VIP as its source, as the packet's route is a local one: the hop "
    "is seen, under the address of the VIP."
)
FROM_VIP = (
    "Towards an address that routes as local, IPv4 takes that same address as source: the answer "
    "is for the VIP, not for the program that asked."
)
MARTIAN = (
    "The answer's source routes as local on the director, which IPv4 takes for a forged packet."
)
FIRST_HOP = "The VIP is served at the first hop, which answers."
NO_ND = "IPv6 has no ARP, and the director is no ND proxy: the upstream needs a route."
NO_GUARD = (
    "Legacy tables have no place behind IPVS to refuse at, so that UDP sockets of the director "
    "that are bound to no address get the packet; no answer leaves. (Of the nat table's INPUT, "
    "which is behind IPVS, the kernel says that REJECT is valid in the filter table only, iptables "
    "that it is not for filtering; untracked packets pass it by.)"
)
REFUSED_BEFORE = (
    "Legacy tables have no place behind IPVS: what begins a connection to a port that no service "
    "names is refused before IPVS can tell that it is FTP's data. Name the server's passive ports."
)
ROUTE_ONLY = "Only `route` can: the others do not make VIPs addresses that the kernel answers for."


def _of_both_fwmarks(check: str, where: str, word: str, because: str) -> list[Deviation]:
    names = ("fwmark", "fwmark-iptables")
    return [Deviation(check, f"{name},{where}", word, because) for name in names]


CONNTRACK_OFF, CONNTRACK_ON = (f"net.ipv4.vs.conntrack={value}" for value in (0, 1))
DEVIATIONS = (
    Deviation("fragments-sent", "6,tun", "yes, from the second on", TUN_TOO_BIG),
    Deviation("need-frag-director", "4,tun", "not needed", TUN_FRAGMENTS),
    Deviation("need-frag-director", "proxy", "not needed", PROXY_ENDS),
    *_of_both_fwmarks("need-frag-director", "4", "lost", NO_IPV4_ERRORS),
    Deviation("own-client", "route,4", "silence", FROM_VIP),
    Deviation("own-client", "tproxy,4", "silence", GO_AROUND),
    Deviation("answers-through", "route,4", "silence", MARTIAN),
    Deviation("ttl", "proxy", "not needed", FIRST_HOP),
    Deviation("ttl", "route,4", "shows the VIP", SAYS_VIP),
    *_of_both_fwmarks("other-port", "4,UDP", "silence", NO_IPV4_ERRORS),
    *_of_both_fwmarks("no-server", "4,UDP", "silence", NO_IPV4_ERRORS),
    *_of_both_fwmarks("threshold", "4", "one more is silence", NO_IPV4_ERRORS),
    Deviation("ftp", "fwmark-iptables,EPSV", "refused", REFUSED_BEFORE),
    Deviation("ftp-v4", "fwmark-iptables,PASV", "refused", REFUSED_BEFORE),
    Deviation("own-server-abandoned", "fwmark-iptables,UDP", "reached", NO_GUARD),
    Deviation("arp", "route,4", YES, ""),
    Deviation("arp", "route,6", "nobody answers", NO_ND),
    Deviation("arp", "", "refused by vipctl", ROUTE_ONLY),
    Deviation("forged", "6,an address of the director", "accepted", NO_MARTIANS),
    Deviation("astray", "6", "accepted", NO_RP_FILTER),
    Deviation("firewall-tcp", f"nat,{CONNTRACK_OFF}", "silence", TRACKED_NAT),
    Deviation("firewall-tcp", f"dr,{CONNTRACK_ON}", "silence", TRACKED_DIRECT),
    Deviation("firewall-tcp", f"tun,{CONNTRACK_ON}", "silence", TRACKED_DIRECT),
)
ALL_WELL = Deviation("", "", YES, "")


def expected(cell: Cell) -> Deviation:
    """Return what a cell has to come to: the first deviation that is about it, or "yes"."""
    return next(about(cell), ALL_WELL)


def about(cell: Cell) -> Iterator[Deviation]:
    """Return the deviations that are about a cell."""
    return (deviation for deviation in DEVIATIONS if deviation.is_about(cell))


def patience(cell: Cell) -> float:
    """Return how long to wait for an answer."""
    word = expected(cell).word
    return PATIENCE["silence" not in word and "lost" not in word]
