"""Method tproxy with haproxy: clients reach servers through it, whichever VIP they ask."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import CLIENT_SOURCES_4, CLIENT_SOURCES_6, Lab
from tests.harness.servers import UdpServer
from tests.harness.traffic import tcp_get, udp_ask
from tests.netns import haproxy
from tests.netns.haproxy import KEEPING, PLAIN, Seen

RANGES = ("203.0.113.0/24", "198.51.100.7", "2001:db8:1::/64", "2001:db8:2::7")
VIPS = ("203.0.113.0", "203.0.113.255", "198.51.100.7", "2001:db8:1::77", "2001:db8:2::7")
BESIDES = ("203.0.112.255", "198.51.100.8", "2001:db8:0:ffff::1", "2001:db8:2::8")
VERSION = {
    4: ("203.0.113.77", "10.0.1.1", CLIENT_SOURCES_4),
    6: ("2001:db8:1::77", "fd00:1::1", CLIENT_SOURCES_6),
}


@pytest.fixture
def vipctl(balanced: Lab, tmp_path: Path) -> Iterator[Vipctl]:
    """vipctl on the director; its services go afterwards."""
    with haproxy.cleared(balanced.director, tmp_path) as command:
        yield command


def _proxy(vipctl: Vipctl, port: int, *options: str) -> None:
    words = ["--service", "web", "--method", "tproxy", "--to-port", str(port)]
    vipctl("add-range", *RANGES, *words, *options)


def test_the_proxy_sees_client_and_vip_and_balances(balanced: Lab, vipctl: Vipctl) -> None:
    _proxy(vipctl, PLAIN)
    for vip in VIPS:
        _, director, sources = VERSION[6 if ":" in vip else 4]
        seen = [haproxy.ask(balanced.client, vip, 80, sources[3]) for _ in range(4)]
        assert Counter(s.server for s in seen) == {"real1": 2, "real2": 2}
        told = {s._replace(server="") for s in seen}
        assert told == {Seen("", sources[3], f"{vip}:80", director)}


def test_every_port_of_a_vip_is_the_proxys(balanced: Lab, vipctl: Vipctl) -> None:
    """Its own too."""
    _proxy(vipctl, PLAIN)
    for port, vip in product((1, PLAIN, 65535), (VIPS[0], VIPS[3])):
        assert haproxy.ask(balanced.client, vip, port).vip == f"{vip}:{port}"


def test_neighbours_of_ranges_are_not(balanced: Lab, vipctl: Vipctl) -> None:
    _proxy(vipctl, PLAIN)
    with ThreadPoolExecutor(len(BESIDES)) as pool:
        waiting = [pool.submit(tcp_get, balanced.client, vip, 80, timeout=0.5) for vip in BESIDES]
        assert not [one.result() for one in waiting if one.result().answered]


@pytest.mark.parametrize("version", [4, 6])
def test_servers_see_the_clients_address(balanced: Lab, vipctl: Vipctl, version: int) -> None:
    """Their answers are for the client and stay on the director."""
    _proxy(vipctl, KEEPING)
    vip, _, sources = VERSION[version]
    seen = {s: haproxy.ask(balanced.client, vip, 80, s) for s in sources}
    assert {s: (one.client, one.peer) for s, one in seen.items()} == {s: (s, s) for s in sources}
    assert {one.server for one in seen.values()} == {"real1", "real2"}


@pytest.mark.parametrize("port", [PLAIN, KEEPING])
def test_forwarded_traffic_does_not_meet_the_proxy(
    balanced: Lab, vipctl: Vipctl, port: int
) -> None:
    """Not even at the port where the proxy listens, while it serves."""
    _proxy(vipctl, port)
    haproxy.told_servers(balanced, port)
    for bind in haproxy.ANY:
        UdpServer(balanced.reals[0], bind, port, "real1")
    for address, vip, source in (
        (balanced.real4(0), VIPS[0], balanced.client4),
        (balanced.real6(0), VIPS[3], balanced.client6),
    ):
        assert haproxy.ask(balanced.client, vip).client == source
        assert haproxy.ask(balanced.client, address, port) == Seen("real1", "", "", source)
        assert udp_ask(balanced.client, address, port).peer == source


def test_source_validation(balanced: Lab, vipctl: Vipctl) -> None:
    """Neither what clients ask nor what servers answer is a martian; the last are the defaults."""
    _proxy(vipctl, KEEPING)
    for rp_filter, src_valid_mark in [*product((2, 1, 0), (1, 0))]:
        for device in ("all", "eth0", "eth1"):
            balanced.director.sysctl(f"net.ipv4.conf.{device}.rp_filter", rp_filter)
            balanced.director.sysctl(f"net.ipv4.conf.{device}.src_valid_mark", src_valid_mark)
        for vip, _, (_, source, *_) in VERSION.values():
            assert haproxy.ask(balanced.client, vip, 80, source).peer == source
