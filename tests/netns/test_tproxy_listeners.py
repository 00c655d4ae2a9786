"""Method tproxy with small listeners: who gets what is for a VIP, and what nobody gets."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest

from tests.conformance.servers import DatagramServer, WebServer, stand_in
from tests.harness.command import Vipctl
from tests.harness.lab import CLIENT_SOURCES_4, CLIENT_SOURCES_6, Lab, family, lab
from tests.harness.netns import Namespace
from tests.harness.servers import TcpServer, UdpServer
from tests.harness.traffic import TIME_LIMIT, Outcome, Reply, tcp_get, udp_ask
from tests.harness.waiting import wait_until
from tests.netns import haproxy

RANGES = ("203.0.113.0/24", "198.51.100.7", "2001:db8:1::/64")
VIPS = ("203.0.113.77", "198.51.100.7", "2001:db8:1::77")
OWN = ("10.0.0.1", "fd00::1")
EVERYWHERE = ("0.0.0.0", "::")
LOOPBACK = ("127.0.0.1", "::1")
PORT, OTHER = 8080, 8053
PATIENCE = 0.6  # for what must not come
LISTENERS: list[TcpServer | UdpServer] = []  # of the present test
Ask = tuple[Callable[..., Reply], str, int]


@pytest.fixture(scope="module")
def net() -> Iterator[Lab]:
    """A director that has sockets of its own, for nobody's VIP, and sends all errors it has."""
    with lab(reals=0) as built:
        for key in ("net.ipv4.icmp_ratelimit", "net.ipv6.icmp.ratelimit"):
            built.director.sysctl(key, 0)
        for bind in EVERYWHERE:
            TcpServer(built.director, bind, 22, "director")
            UdpServer(built.director, bind, 53, "director")
        yield built


@pytest.fixture
def vipctl(net: Lab, tmp_path: Path) -> Iterator[Vipctl]:
    """vipctl on the director; its services and the test's listeners go afterwards."""
    with haproxy.cleared(net.director, tmp_path) as command:
        yield command
    _close_listeners(net.director)


def _proxy(vipctl: Vipctl, *options: str, name: str = "web", port: int = PORT) -> None:
    words = ["--service", name, "--method", "tproxy", "--to-port", str(port)]
    vipctl("add-range", *RANGES, *words, *options)


def _listen(
    host: Namespace, binds: tuple[str, ...] = EVERYWHERE, port: int = PORT, name: str = "proxy"
) -> None:
    for bind in binds:
        servers = WebServer(host, bind, port, name), DatagramServer(host, bind, port, name)
        LISTENERS.extend(servers)
        for server in servers:
            stand_in(server.socket)


def _close_listeners(host: Namespace) -> None:
    """Their threads hold the sockets a little longer."""
    while LISTENERS:
        LISTENERS.pop().close()
    ends = [f":{port:04X} " for port in (PORT, OTHER)]
    wait_until(
        lambda: not any(end in host.proc_net(name) for name in ("udp", "udp6") for end in ends),
        "the listeners are gone",
    )


def _all(net: Lab, asked: list[Ask], timeout: float = TIME_LIMIT) -> list[Reply]:
    """Ask all at the same time."""
    with ThreadPoolExecutor(len(asked)) as pool:
        waiting = [pool.submit(ask, net.client, *to, timeout=timeout) for ask, *to in asked]
        return [one.result() for one in waiting]


def _outcomes(
    net: Lab, addresses: tuple[str, ...], *asked: tuple[str, int], timeout: float = TIME_LIMIT
) -> list[Outcome]:
    """Ask each address in turn for the ports, all at the same time."""
    kinds: dict[str, Callable[..., Reply]] = {"tcp": tcp_get, "udp": udp_ask}
    asks: list[Ask] = [(kinds[p], address, n) for address in addresses for p, n in asked]
    return [reply.outcome for reply in _all(net, asks, timeout)]


@pytest.mark.parametrize("nbytes", [16, 4000])
def test_datagrams_and_their_answers(net: Lab, vipctl: Vipctl, nbytes: int) -> None:
    """The listener knows the client and answers from the VIP, or nobody would hear it."""
    _proxy(vipctl)
    _listen(net.director)
    for vip, at in product(VIPS, range(8)):
        source = (CLIENT_SOURCES_6 if ":" in vip else CLIENT_SOURCES_4)[at]
        reply = udp_ask(net.client, vip, 4000 if nbytes == 4000 else 123, nbytes, source)
        assert reply == Reply(Outcome.ANSWERED, "proxy", source, nbytes)


@pytest.mark.parametrize("vip", [VIPS[0], VIPS[2]])
def test_a_socket_that_answers_does_not_get_what_others_ask(
    net: Lab, vipctl: Vipctl, vip: str
) -> None:
    """Bound to a VIP to answer one client from there, and not closed yet."""
    _proxy(vipctl)
    _listen(net.director)
    with net.director, socket.socket(family(vip), socket.SOCK_DGRAM) as answering:
        answering.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stand_in(answering)
        answering.bind((vip, 123))
        assert udp_ask(net.client, vip, 123).server == "proxy"


@pytest.mark.parametrize(
    ("addresses", "binds"),
    [
        (LOOPBACK, LOOPBACK),
        (EVERYWHERE, EVERYWHERE),
        (("127.0.0.1",), ("127.0.0.1", "::")),
        (("::1",), ("0.0.0.0", "::1")),
        (("10.0.1.1", "fd00:1::1"), ("10.0.1.1", "fd00:1::1")),
        ((), OWN),  # those of the interface at which packets come
    ],
)
def test_where_the_proxy_listens(
    net: Lab, vipctl: Vipctl, addresses: tuple[str, ...], binds: tuple[str, ...]
) -> None:
    _proxy(vipctl, *(f"--to-address={address}" for address in addresses))
    _listen(net.director, binds)
    replies = _all(net, [(ask, vip, 80) for vip in VIPS for ask in (tcp_get, udp_ask)])
    assert {(reply.outcome, reply.server) for reply in replies} == {(Outcome.ANSWERED, "proxy")}
    assert {reply.peer for reply in replies} == {net.client4, net.client6}


@pytest.mark.parametrize(("options", "bind"), [(["--to-address=127.0.0.2"], OWN[0]), ([], "::1")])
def test_a_listener_elsewhere_is_none(
    net: Lab, vipctl: Vipctl, options: list[str], bind: str
) -> None:
    _proxy(vipctl, *options)
    _listen(net.director, (bind,))
    assert set(_outcomes(net, VIPS, ("tcp", 80), ("udp", 80))) == {Outcome.REFUSED}


def test_other_ports_are_refused(net: Lab, vipctl: Vipctl) -> None:
    """Those of the director's sockets, transparent or not, among them."""
    _proxy(vipctl, "--port", "tcp/80")
    _listen(net.director)
    ports = [("tcp", 80), ("tcp", 22), ("tcp", 81), ("tcp", PORT), ("udp", 53), ("udp", 80)]
    refused = [Outcome.REFUSED] * 5
    assert _outcomes(net, VIPS, *ports) == [Outcome.ANSWERED, *refused] * len(VIPS)
    own = _outcomes(net, OWN, ("tcp", 22), ("udp", 53), ("tcp", PORT))
    assert set(own) == {Outcome.ANSWERED}


def test_ranges_of_ports(net: Lab, vipctl: Vipctl) -> None:
    _proxy(vipctl, "--port=tcp/79-81", "--port=udp")
    _listen(net.director)
    inside = [("tcp", 79), ("tcp", 80), ("tcp", 81), ("udp", 1), ("udp", 65535)]
    outside = [("tcp", 22), ("tcp", 78), ("tcp", 82), ("tcp", PORT)]
    assert set(_outcomes(net, VIPS, *inside)) == {Outcome.ANSWERED}
    assert set(_outcomes(net, VIPS, *outside)) == {Outcome.REFUSED}
    vipctl("remove-port", "web", "tcp/80")
    vipctl("add-port", "web", "82/tcp")
    changed = _outcomes(net, VIPS, ("tcp", 79), ("tcp", 80), ("tcp", 81), ("tcp", 82))
    answered = Outcome.ANSWERED
    assert changed == [answered, Outcome.REFUSED, answered, answered] * len(VIPS)


@pytest.mark.parametrize(
    ("options", "outcome", "timeout"),
    [([], Outcome.REFUSED, TIME_LIMIT), (["--leftover=drop"], Outcome.TIMEOUT, PATIENCE)],
)
def test_without_a_listener_nobody_answers(
    net: Lab, vipctl: Vipctl, options: list[str], outcome: Outcome, timeout: float
) -> None:
    """Nor does one at that port that is not transparent, or another socket of the director."""
    _proxy(vipctl, *options)
    asked = [("tcp", 80), ("tcp", 22), ("tcp", PORT), ("udp", 53), ("udp", PORT)]
    assert set(_outcomes(net, VIPS, *asked, timeout=timeout)) == {outcome}
    for bind in EVERYWHERE:
        LISTENERS.append(TcpServer(net.director, bind, PORT, "director"))
        LISTENERS.append(UdpServer(net.director, bind, PORT, "director"))
    assert set(_outcomes(net, VIPS, *asked, timeout=timeout)) == {outcome}
    own = _outcomes(net, OWN, ("tcp", 22), ("udp", 53), ("tcp", PORT), ("udp", PORT))
    assert set(own) == {Outcome.ANSWERED}


def test_a_listener_that_goes_is_missed_at_once(net: Lab, vipctl: Vipctl) -> None:
    _proxy(vipctl)
    for _ in range(2):
        assert set(_outcomes(net, VIPS, ("tcp", 80), ("udp", 80))) == {Outcome.REFUSED}
        _listen(net.director)
        assert set(_outcomes(net, VIPS, ("tcp", 80), ("udp", 80))) == {Outcome.ANSWERED}
        _close_listeners(net.director)


def test_services_that_share_vips_have_listeners_of_their_own(net: Lab, vipctl: Vipctl) -> None:
    shares = {"www": (PORT, ["tcp/80", "udp/443"]), "dns": (OTHER, ["udp/53", "tcp/53"])}
    for name, (port, ports) in shares.items():
        _proxy(vipctl, *(f"--port={words}" for words in ports), name=name, port=port)
        _listen(net.director, port=port, name=name)
    expected: dict[tuple[Callable[..., Reply], int], str] = {
        **{(tcp_get, 80): "www", (udp_ask, 443): "www", (tcp_get, 53): "dns", (udp_ask, 53): "dns"},
        **{(tcp_get, 443): "", (tcp_get, PORT): "", (udp_ask, 80): ""},
    }
    for vip in VIPS:
        asks: list[Ask] = [(ask, vip, port) for ask, port in expected]
        replies = _all(net, asks)
        assert [reply.server for reply in replies] == list(expected.values())
        refused = [r.outcome for r in replies if not r.answered]
        assert refused == [Outcome.REFUSED] * 3


def test_pings_are_the_directors_where_told(net: Lab, vipctl: Vipctl) -> None:
    """A listener gets none, and ports do not matter."""
    _listen(net.director)
    _proxy(vipctl, "--port", "tcp/80")
    for option, answered in (("--no-ping", False), ("--ping", True), ("--no-ping", False)):
        vipctl("set-service", "web", option)
        assert _pings(net, VIPS) == [answered] * len(VIPS), option
        assert _outcomes(net, VIPS, ("tcp", 80)) == [Outcome.ANSWERED] * 3
    assert _pings(net, OWN) == [True, True]


def _pings(net: Lab, addresses: tuple[str, ...]) -> list[bool]:
    def answers(address: str) -> bool:
        ping = ["ping", "-c1", "-W2", address]
        return net.client.run(ping, check=False).returncode == 0

    with ThreadPoolExecutor(len(addresses)) as pool:
        return list(pool.map(answers, addresses))
