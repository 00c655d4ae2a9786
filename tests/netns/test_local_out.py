"""What leaves the director: its own packets for VIPs, and those that IPVS sends on."""

import socket
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab, family
from tests.netns import foreign
from tests.netns.addresses import OTHERS, RANGES, VIPS
from tests.netns.iptables import ByIptables
from tests.netns.route import ByRoute

IPVS = "output priority -99"  # ip_vs_core.c: NF_IP_PRI_NAT_DST + 1
LEAVING = "postrouting priority 0"
SO_MARK = 36  # asm-generic/socket.h


@pytest.fixture(params=[Vipctl, ByIptables, ByRoute], ids=["fwmark", "fwmark-iptables", "route"])
def vipctl(request: pytest.FixtureRequest, net: Lab, tmp_path: Path) -> Vipctl:
    """vipctl on a director that has a way to everywhere, with each method."""
    net.director.ip("route add default via 10.0.0.2", "route add ::/0 via fd00::2")
    made: Vipctl = request.param(net.director, tmp_path / "state")
    return made


def _send(net: Lab, where: str, match: str, to: tuple[str, ...], port: int, mark: int = 0) -> int:
    """Send a datagram of the director's own to each address; count those that match at a hook."""
    ports = f"udp dport {port} {match} counter"
    foreign.hook(net.director, "seen", where, ports)
    for address in to:
        with net.director, socket.socket(family(address), socket.SOCK_DGRAM) as own:
            own.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
            own.sendto(b"asked", (address, port))
    count = foreign.packets(net.director, "seen")
    net.director.run(["nft", "delete", "table", "inet", "seen"])
    return count


def test_ipvs_sees_the_mark_of_the_directors_own_packets(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    assert _send(net, IPVS, "meta mark 17", VIPS, 80) == 2
    assert _send(net, IPVS, "meta mark 0", OTHERS, 80) == 2
    vipctl("remove-service", "fwmark-17")
    assert _send(net, IPVS, "meta mark 0", VIPS, 80) == 2


def test_only_ports_that_a_service_names(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", "--port", "udp/80")
    vipctl("add-range", *RANGES, "--fwmark", "18", "--port", "udp/53")
    assert _send(net, IPVS, "meta mark 17", VIPS, 80) == 2
    assert _send(net, IPVS, "meta mark 18", VIPS, 53) == 2
    assert _send(net, IPVS, "meta mark 0", VIPS, 81) == 2


def test_marks_of_others_stay(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    assert _send(net, IPVS, "meta mark 5", VIPS, 80, mark=5) == 2
    assert _send(net, LEAVING, "meta mark 5", OTHERS, 80, mark=5) == 2


def test_what_ipvs_sends_on_is_not_accepted_once_more(net: Lab, vipctl: Vipctl) -> None:
    """With the mark, an ICMP error about such a packet would be routed as one for a VIP."""
    vipctl("add-range", *RANGES, "--fwmark", "17")
    for to in (OTHERS, VIPS):
        kept = 2 if isinstance(vipctl, ByRoute) else 0  # whose rules do not look at it
        assert _send(net, LEAVING, "meta mark 17", to, 80, mark=17) == kept
