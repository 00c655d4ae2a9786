"""A director that also translates addresses: answers to hosts behind it are theirs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab, lab
from tests.harness.netns import Namespace
from tests.harness.servers import TcpServer, UdpServer
from tests.harness.traffic import tcp_get, udp_ask
from tests.netns.bymethod import ByMethod
from tests.netns.route import ByRoute

RANGES = ("203.0.113.0/24", "2001:db8:1::/64")
OUTSIDE = ("10.0.0.2", "fd00::2")
PORT = 8000
NAT = """
table inet nat {
    chain out {
        type nat hook postrouting priority srcnat;
        oifname eth0 snat ip to 203.0.113.99
        oifname eth0 snat ip6 to 2001:db8:1::99
    }
    chain in {
        type nat hook prerouting priority dstnat;
        ip daddr 203.0.113.98 dnat ip to 10.0.1.11
        ip6 daddr 2001:db8:1::98 dnat ip6 to fd00:1::11
    }
}
"""


class ByTproxy(ByMethod):
    """vipctl, with every service accepted for a proxy."""

    __slots__ = ()
    method = "tproxy"


@pytest.fixture(scope="module")
def behind() -> Iterator[Lab]:
    """A host behind the director, and a server outside."""
    with lab(reals=1) as built:
        for host, name in ((built.client, "outside"), (built.reals[0], "inside")):
            _serve(host, name)
        built.director.run(["nft", "-f", "-"], input=NAT)
        yield built


def _serve(host: Namespace, name: str) -> None:
    for bind in ("0.0.0.0", "::"):
        TcpServer(host, bind, PORT, name)
        UdpServer(host, bind, PORT, name)


@pytest.fixture(params=[Vipctl, ByRoute, ByTproxy], ids=["fwmark", "route", "tproxy"])
def accepting(request: pytest.FixtureRequest, behind: Lab, tmp_path: Path) -> Iterator[Vipctl]:
    """A director that accepts both ranges, by each method."""
    vipctl: Vipctl = request.param(behind.director, tmp_path / "state")
    if request.param is ByTproxy:
        vipctl("add-service", "web", "--to-port", "8080")
        vipctl("add-range", *RANGES, "--service", "web")
    else:
        vipctl("add-range", *RANGES, "--fwmark", "17")
    yield vipctl
    for name in vipctl("list-services")["services"]:
        vipctl("remove-service", name)


@pytest.mark.usefixtures("accepting")
@pytest.mark.parametrize("outside", OUTSIDE)
def test_hosts_may_be_translated_into_a_vip(behind: Lab, outside: str) -> None:
    for ask in (tcp_get, udp_ask):
        reply = ask(behind.reals[0], outside, PORT)
        assert reply.server == "outside"
        assert reply.peer in ("203.0.113.99", "2001:db8:1::99")


@pytest.mark.usefixtures("accepting")
@pytest.mark.parametrize("vip", ["203.0.113.98", "2001:db8:1::98"])
def test_a_vip_may_be_translated_for_a_host(behind: Lab, vip: str) -> None:
    """Somebody's own rule, for one address of a range that is balanced."""
    for ask in (tcp_get, udp_ask):
        assert ask(behind.client, vip, PORT).server == "inside"
