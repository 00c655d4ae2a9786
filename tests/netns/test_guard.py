"""The guard: the director's own sockets are not reachable through a VIP, and nothing is sent on."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness.command import Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.harness.servers import TcpServer, UdpServer
from tests.harness.traffic import Outcome, Reply, tcp_get, udp_ask, udp_send
from tests.netns import foreign
from tests.netns.arrivals import settle

RANGES = ("203.0.113.0/24", "2001:db8:1::/64")
VIPS = ("203.0.113.77", "2001:db8:1::77")
OWN = ("10.0.0.1", "fd00::1")
PATIENCE = 0.5  # for what must not come

Arrange = Callable[..., None]


def _acceptance_only(vipctl: Vipctl, *options: str) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", *options)


def _with_ports(vipctl: Vipctl, *options: str) -> None:
    """The director's own ports are not among them."""
    ports = "--port", "tcp/80", "--port", "udp/80"
    vipctl("add-range", *RANGES, "--fwmark", "17", *ports, *options)


def _with_the_directors_ports(vipctl: Vipctl, *options: str) -> None:
    """And nobody balances them."""
    ports = "--port", "tcp/22", "--port", "udp/53"
    vipctl("add-range", *RANGES, "--fwmark", "17", *ports, *options)


def _shared(vipctl: Vipctl, *options: str) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", "--port", "tcp/22", *options)
    vipctl("add-range", *RANGES, "--fwmark", "18", "--port", "udp/53", *options)


def _shared_by_three(vipctl: Vipctl, *options: str) -> None:
    for mark, port in (("17", "tcp/80"), ("18", "udp/80"), ("19", "tcp/22")):
        vipctl("add-range", *RANGES, "--fwmark", mark, "--port", port, *options)


def _without_real_servers(vipctl: Vipctl, *options: str) -> None:
    vipctl("add-service", "web", *options)
    vipctl("add-range", *RANGES, "--service", "web")


ARRANGEMENTS: list[Arrange] = [
    _acceptance_only,
    _with_ports,
    _with_the_directors_ports,
    _shared,
    _shared_by_three,
    _without_real_servers,
]


@pytest.fixture(autouse=True)
def _listeners(net: Lab) -> Iterator[None]:
    servers = [
        kind(net.director, bind, port, "director")
        for kind, port in ((TcpServer, 22), (UdpServer, 53), (TcpServer, 9999), (UdpServer, 9999))
        for bind in ("0.0.0.0", "::")
    ]
    yield
    for server in servers:
        server.close()


def _outcomes(net: Lab, addresses: tuple[str, ...]) -> list[Outcome]:
    """TCP to 22 and 9999, then UDP to 53 and 9999, of each address; all at the same time."""
    asked: list[tuple[Callable[..., Reply], str, int]] = [
        (ask, address, port)
        for address in addresses
        for ask, port in ((tcp_get, 22), (tcp_get, 9999), (udp_ask, 53), (udp_ask, 9999))
    ]
    with ThreadPoolExecutor(len(asked)) as pool:
        waiting = [pool.submit(ask, net.client, *to, timeout=PATIENCE) for ask, *to in asked]
        return [one.result().outcome for one in waiting]


@pytest.mark.parametrize("arrange", ARRANGEMENTS)
def test_own_sockets_are_reachable_at_own_addresses_only(
    net: Lab, vipctl: Vipctl, arrange: Arrange
) -> None:
    arrange(vipctl)
    # Linux has nowhere to send an IPv4 error from: its source would be the VIP.
    assert _outcomes(net, VIPS) == [
        *(Outcome.REFUSED, Outcome.REFUSED, Outcome.TIMEOUT, Outcome.TIMEOUT),
        *(Outcome.REFUSED, Outcome.REFUSED, Outcome.REFUSED, Outcome.REFUSED),
    ]
    assert set(_outcomes(net, OWN)) == {Outcome.ANSWERED}


@pytest.mark.parametrize("arrange", ARRANGEMENTS)
def test_dropping_is_silent(net: Lab, vipctl: Vipctl, arrange: Arrange) -> None:
    arrange(vipctl, "--leftover", "drop")
    assert set(_outcomes(net, VIPS)) == {Outcome.TIMEOUT}
    assert set(_outcomes(net, OWN)) == {Outcome.ANSWERED}


@pytest.mark.parametrize("arrange", ARRANGEMENTS)
def test_nothing_for_a_vip_goes_back_to_the_router(
    net: Lab, vipctl: Vipctl, arrange: Arrange
) -> None:
    """The director's default route is where the packet came from, as on a network's edge."""
    net.director.ip("route add default via 10.0.0.2", "route add ::/0 via fd00::2")
    arrange(vipctl)
    with LocalInCounter(net.director) as counter:
        returned = f"ip daddr {RANGES[0]} counter", f"ip6 daddr {RANGES[1]} counter"
        foreign.hook(net.client, "returned", "prerouting priority 0", *returned)
        for port in (22, 53, 80, 9999):
            udp_send(net.client, list(VIPS), port)
            tcp_get(net.client, VIPS[0], port)
            tcp_get(net.client, VIPS[1], port)
        settle(net.client, counter)
        assert foreign.packets(net.client, "returned") == 0
        for name in vipctl("list-services")["services"]:
            vipctl("remove-service", name)
        udp_send(net.client, list(VIPS), 9)
        settle(net.client, counter)
        assert foreign.packets(net.client, "returned") >= 2, "without vipctl they would"


def test_what_ipvs_sent_to_the_director_itself_passes(net: Lab, vipctl: Vipctl) -> None:
    """IPVS leaves the mark on a packet whose destination it made a real server's."""
    _acceptance_only(vipctl)
    own = "ip daddr 10.0.0.1", "ip6 daddr fd00::1"
    foreign.hook(
        net.director, "ipvs", "input priority 98", *(f"{match} meta mark set 17" for match in own)
    )
    assert set(_outcomes(net, OWN)) == {Outcome.ANSWERED}
    assert Outcome.ANSWERED not in _outcomes(net, VIPS)
