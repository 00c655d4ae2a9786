"""The `route` method: VIPs are local routes, and yet nothing but IPVS's: sockets, ARP, pings."""

import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest

from tests.harness.command import Vipctl
from tests.harness.counter import RULESET, LocalInCounter
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.harness.servers import TcpServer, UdpServer
from tests.harness.traffic import Outcome, Reply, tcp_get, udp_ask, udp_send
from tests.harness.waiting import wait_until
from tests.netns import snapshot
from tests.netns.arrivals import accepted, settle
from tests.netns.packets import need_frag, transmit, udp
from vipctl import ipvs

ROUTE = ("--method", "route")
RANGES = ("203.0.113.0/24", "2001:db8:1::/64")
VIPS = ("203.0.113.77", "2001:db8:1::77")
OTHER_RANGES = ("198.51.100.0/24", "2001:db8:2::/64")
OTHERS = ("198.51.100.77", "2001:db8:2::77")
OWN = ("10.0.0.1", "fd00::1")
ROUTER = {4: "192.0.2.200", 6: "2001:db8:f::200"}
PATIENCE = 0.3  # for what must not come
ETH_P_ARP = 0x0806  # linux/if_ether.h
ARP = struct.Struct("!HHBBH6s4s6s4s")  # linux/if_arp.h


class BeforeIpvs(LocalInCounter):
    """Counts where IPVS looks: behind the marks that this method sets in LOCAL_IN."""

    def __init__(self, ns: Namespace) -> None:
        self.ns = ns
        ns.run(["nft", "-f", "-"], input=RULESET.replace("priority 50", "priority 98"))


@pytest.fixture
def counter(net: Lab) -> BeforeIpvs:
    """The counter of the director; it goes when the director does."""
    return BeforeIpvs(net.director)


# what is accepted


def test_ranges_are_accepted_until_they_are_removed(
    net: Lab, vipctl: Vipctl, counter: BeforeIpvs
) -> None:
    counter.close()
    before = snapshot.kernel(net.director)
    counter = BeforeIpvs(net.director)
    ranges = [*RANGES, "198.51.100.7", "198.51.100.10-198.51.100.13", "2001:db8:2::5"]
    assert vipctl("add-range", *ranges, "--fwmark", "17", *ROUTE)["changed"] is True
    assert vipctl("add-range", *ranges, "--fwmark", "17", *ROUTE)["changed"] is False
    inside = ["203.0.113.0", "203.0.113.255", "198.51.100.7", "198.51.100.10", "198.51.100.13"]
    inside += ["2001:db8:1::", "2001:db8:1:0:ffff::", "2001:db8:2::5"]
    outside = ["203.0.112.255", "203.0.114.0", "198.51.100.6", "198.51.100.9", "198.51.100.14"]
    outside += ["2001:db8:0:ffff:ffff:ffff:ffff:ffff", "2001:db8:1:1::", "2001:db8:2::6"]
    assert accepted(net, counter, inside + outside) == dict.fromkeys(inside, 17)
    vipctl("remove-range", "203.0.113.128/25", "2001:db8:1::/65")
    assert accepted(net, counter, inside + outside) == dict.fromkeys(
        [a for a in inside if a not in ("203.0.113.255", "2001:db8:1::")], 17
    )
    vipctl("add-range", "203.0.113.128/25", "192.0.2.1", "--fwmark", "18", *ROUTE)
    found = accepted(net, counter, ["203.0.113.127", "203.0.113.128", "192.0.2.1"])
    assert found == {"203.0.113.127": 17, "203.0.113.128": 18, "192.0.2.1": 18}
    for name in vipctl("list-services")["services"]:
        assert vipctl("remove-service", name)["changed"] is True
    assert accepted(net, counter, [*inside, *outside]) == {}
    counter.close()
    assert snapshot.kernel(net.director) == before


def test_nothing_is_needed_that_others_set_up_first(vipctl: Vipctl) -> None:
    """Until somebody adds a rule, the kernel keeps table `local` in table `main` (IPv4)."""
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17", *ROUTE)
    assert vipctl("status")["kernel"] == "as stored"
    vipctl.host.ip("rule add pref 20000 fwmark 99 lookup 99")
    assert vipctl("status")["kernel"] == "as stored"
    assert vipctl("restore")["changed"] is False


def test_prefixes_of_every_length_end_where_they_end(
    net: Lab, vipctl: Vipctl, counter: BeforeIpvs
) -> None:
    """Each prefix is followed by a gap of its own size."""
    prefixes = [*_shrinking(ip_network("16.0.0.0/4")), *_shrinking(ip_network("2000::/4"))]
    vipctl("add-range", *map(str, prefixes), "--fwmark", "17", "--leftover", "drop", *ROUTE)
    inside = {str(end) for prefix in prefixes for end in (prefix[0], prefix[-1])}
    outside = {str(end) for prefix in prefixes for end in (prefix[0] - 1, prefix[-1] + 1)}
    assert accepted(net, counter, [*inside, *outside]) == dict.fromkeys(inside, 17)


def _shrinking(prefix: IPv4Network | IPv6Network) -> Iterator[IPv4Network | IPv6Network]:
    """Yield prefixes, each half of the one before, until there is one of a single address."""
    yield prefix
    while prefix.prefixlen < prefix.max_prefixlen:
        start = prefix.network_address + 2 * prefix.num_addresses
        prefix = ip_network(f"{start}/{prefix.prefixlen + 1}")
        yield prefix


@pytest.mark.parametrize("at", [0, 1], ids=["IPv4", "IPv6"])
def test_every_kind_of_packet_is_accepted(
    net: Lab, vipctl: Vipctl, counter: BeforeIpvs, at: int
) -> None:
    vip, version = VIPS[at], ip_address(VIPS[at]).version
    vipctl("add-range", RANGES[at], "--fwmark", "17", *ROUTE)
    assert tcp_get(net.client, vip, 80).outcome is Outcome.REFUSED
    assert counter.count(17, vip) == 1, "a TCP SYN"
    counter.reset()
    transmit(net.client, net.director, need_frag(ROUTER[version], vip))
    settle(net.client, counter)
    assert counter.count(17, vip) == 1, "an ICMP error about a VIP's answer"
    counter.reset()
    udp_send(net.client, [vip], 53, nbytes=4000)
    settle(net.client, counter)
    fragments = {4: 1, 6: 3}  # IPv6 reassembles after LOCAL_IN
    assert {m: n for (m, dst), n in counter.counts().items() if dst == vip} == {
        17: fragments[version]
    }


def test_ports_and_planes(net: Lab, vipctl: Vipctl, counter: BeforeIpvs) -> None:
    """Two services share VIPs, a third has all ports of others; a fourth has another method."""
    vipctl("add-range", *RANGES, "--fwmark", "17", "--port", "tcp/80", *ROUTE)
    vipctl("add-range", *RANGES, "--fwmark", "18", "--port", "udp/53", *ROUTE)
    vipctl("add-range", *OTHER_RANGES, "--fwmark", "19", *ROUTE)
    vipctl("add-range", "192.0.2.0/24", "--fwmark", "20", "--method", "fwmark")
    for port, mark in ((53, 18), (80, None), (9, None)):
        counter.reset()
        udp_send(net.client, [*VIPS, *OTHERS, "192.0.2.7"], port)
        settle(net.client, counter)
        seen = {dst: m for m, dst in counter.counts() if m}
        others = dict.fromkeys(OTHERS, 19) | {"192.0.2.7": 20}
        assert seen == others | (dict.fromkeys(VIPS, mark) if mark else {}), port
    counter.reset()
    for vip in VIPS:
        tcp_get(net.client, vip, 80)
        tcp_get(net.client, vip, 53)
    assert {dst: (m, n) for (m, dst), n in counter.counts().items() if m} == dict.fromkeys(
        VIPS, (17, 1)
    )
    counter.reset()
    transmit(net.client, net.director, *(need_frag(ROUTER[ip_address(v).version], v) for v in VIPS))
    settle(net.client, counter)
    assert {dst for m, dst in counter.counts() if m} == {*VIPS}, "ICMP has no port"


def test_what_one_service_leaves_stays_with_those_that_share_it(
    net: Lab, vipctl: Vipctl, counter: BeforeIpvs
) -> None:
    """Its outermost ranges, and one within."""
    ranges = ["192.0.2.1", "198.51.100.7", "203.0.113.0/24", "2001:db8:1::/64", "2001:db8:2::/64"]
    vips = ["192.0.2.1", "198.51.100.7", "203.0.113.7", "2001:db8:1::7", "2001:db8:2::7"]
    vipctl("add-range", *ranges, "--fwmark", "17", "--port", "tcp/80", *ROUTE)
    vipctl("add-range", *ranges, "--fwmark", "18", "--port", "udp/9", *ROUTE)
    vipctl("remove-range", "198.51.100.7", "--service", "fwmark-17")
    assert accepted(net, counter, vips) == dict.fromkeys(vips, 18)
    vipctl("remove-service", "fwmark-17")
    assert accepted(net, counter, vips) == dict.fromkeys(vips, 18)
    assert vipctl("restore")["changed"] is False


# the guard


@pytest.fixture
def _listeners(net: Lab) -> Iterator[None]:
    servers = [
        kind(net.director, bind, port, "director")
        for kind, port in ((TcpServer, 22), (UdpServer, 53), (TcpServer, 9999), (UdpServer, 9999))
        for bind in ("0.0.0.0", "::")
    ]
    yield
    for server in servers:
        server.close()


def _outcomes(host: Namespace, addresses: Iterable[str]) -> set[Outcome]:
    """TCP to 22 and 9999, UDP to 53 and 9999, of each address; all at the same time."""
    asked: list[tuple[Callable[..., Reply], str, int]] = [
        (ask, address, port)
        for address in addresses
        for ask, port in ((tcp_get, 22), (tcp_get, 9999), (udp_ask, 53), (udp_ask, 9999))
    ]
    with ThreadPoolExecutor(len(asked)) as pool:
        waiting = [pool.submit(ask, host, *to, timeout=PATIENCE) for ask, *to in asked]
        return {one.result().outcome for one in waiting}


def _acceptance_only(vipctl: Vipctl, *options: str) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", *ROUTE, *options)


def _with_other_ports(vipctl: Vipctl, *options: str) -> None:
    _acceptance_only(vipctl, "--port", "tcp/80", "--port", "udp/80", *options)


def _with_the_directors_ports(vipctl: Vipctl, *options: str) -> None:
    _acceptance_only(vipctl, "--port", "tcp/22", "--port", "udp/53", *options)


def _shared_by_three(vipctl: Vipctl, *options: str) -> None:
    for mark, port in (("17", "tcp/80"), ("18", "udp/80"), ("19", "tcp/22")):
        vipctl("add-range", *RANGES, "--fwmark", mark, "--port", port, *ROUTE, *options)


def _without_real_servers(vipctl: Vipctl, *options: str) -> None:
    vipctl("add-service", "web", *ROUTE, *options)
    vipctl("add-range", *RANGES, "--service", "web")


@pytest.mark.usefixtures("_listeners")
@pytest.mark.parametrize(
    "arrange",
    [
        _acceptance_only,
        _with_other_ports,
        _with_the_directors_ports,
        _shared_by_three,
        _without_real_servers,
    ],
)
def test_own_sockets_are_reachable_at_own_addresses_only(
    net: Lab, vipctl: Vipctl, arrange: Callable[..., None]
) -> None:
    """VIPs are local, so that every refusal has an address to be sent from."""
    for leftover, outcome in (("reject", Outcome.REFUSED), ("drop", Outcome.TIMEOUT)):
        arrange(vipctl, "--leftover", leftover)
        assert _outcomes(net.client, VIPS) == {outcome}
        assert _outcomes(net.client, OWN) == {Outcome.ANSWERED}
        assert Outcome.ANSWERED not in _outcomes(net.director, VIPS), "nor from the director itself"
        for name in vipctl("list-services")["services"]:
            vipctl("remove-service", name)


@pytest.mark.usefixtures("_listeners")
def test_without_the_guard_they_would_be(net: Lab, vipctl: Vipctl) -> None:
    """What the tests above rely on: routes alone make every VIP the director's own."""
    _acceptance_only(vipctl)
    net.director.run(["nft", "delete", "table", "inet", "vipctl_route"])
    assert _outcomes(net.client, VIPS) == {Outcome.ANSWERED}


# ARP


def _arp(net: Lab, addresses: Iterable[str], device: str = "eth0") -> set[str]:
    """Ask who has these addresses, and the director's own last; return those that are answered."""
    last = OWN[0]
    with net.client, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((device, ETH_P_ARP))
        wire.settimeout(5)
        mac = wire.getsockname()[4]
        for address in [*addresses, last]:
            ends = mac, ip_address("10.0.0.9").packed, bytes(6), ip_address(address).packed
            request = ARP.pack(1, 0x0800, 6, 4, 1, *ends)
            wire.send(b"\xff" * 6 + mac + struct.pack("!H", ETH_P_ARP) + request)
        answered: set[str] = set()
        while last not in answered:
            *_, operation, _, sender, _, _ = ARP.unpack_from(wire.recv(2048), 14)
            if operation == 2:
                answered.add(str(ip_address(sender)))
    return answered - {last}


NEAR = "10.0.0.64/28"  # in the client's and the director's subnet


@pytest.mark.parametrize("device", ["eth0", "eth1"])
def test_arp_is_answered_only_if_told_to(net: Lab, vipctl: Vipctl, device: str) -> None:
    vips = ["10.0.0.64", "10.0.0.70", "203.0.113.77", "198.51.100.77"]
    assert _arp(net, vips, device) == set()
    vipctl("add-range", NEAR, "203.0.113.0/24", "--fwmark", "17", *ROUTE)
    vipctl("add-range", "198.51.100.77", "--fwmark", "18", "--arp", *ROUTE)
    assert _arp(net, vips, device) == {"198.51.100.77"}
    vipctl("add-range", "198.51.100.78", "--fwmark", "18")
    vipctl("add-range", "203.0.114.1", "--fwmark", "17")
    more = [*vips, "198.51.100.78", "203.0.114.1"]
    assert _arp(net, more, device) == {"198.51.100.77", "198.51.100.78"}
    vipctl("remove-range", "198.51.100.77", "203.0.113.77")
    assert _arp(net, more, device) == {"198.51.100.78"}
    net.director.run(["nft", "delete", "table", "arp", "vipctl_route"])
    found = {"10.0.0.64", "10.0.0.70", "198.51.100.78", "203.0.114.1"}
    assert _arp(net, more, device) == found, "it is the table that keeps the kernel silent"


def test_arp_can_be_switched_and_nothing_else_is(
    net: Lab, vipctl: Vipctl, counter: BeforeIpvs
) -> None:
    vips = {"10.0.0.70": 17, "203.0.113.77": 17, "2001:db8:1::77": 17, "192.0.2.1": 18}
    vipctl("add-range", NEAR, *RANGES, "--fwmark", "17", *ROUTE)
    vipctl("add-range", "192.0.2.1", "--fwmark", "18", *ROUTE)
    silent = _without_arp(net)
    for option, answered in (("--arp", {"10.0.0.70", "203.0.113.77"}), ("--no-arp", set())):
        assert vipctl("set-service", "fwmark-17", option)["changed"] is True
        assert vipctl("set-service", "fwmark-17", option)["changed"] is False
        assert _arp(net, [v for v in vips if ":" not in v]) == answered
        assert _without_arp(net) == silent
        assert vipctl("status")["kernel"] == "as stored"
        assert vipctl("restore")["changed"] is False
        net.client.run(["ip", "neigh", "flush", "all"])
        reached = vips if answered else {v: m for v, m in vips.items() if v != "10.0.0.70"}
        assert accepted(net, counter, vips) == reached
    vipctl("set-service", "fwmark-18", "--arp")
    vipctl("set-service", "fwmark-17", "--arp")
    assert "table arp" not in net.director.run(["nft", "list", "ruleset"]).stdout
    vipctl("set-service", "fwmark-17", "--no-arp")
    assert _arp(net, ["10.0.0.70", "192.0.2.1"]) == {"192.0.2.1"}


def _without_arp(net: Lab) -> dict[str, list[str]]:
    """Return all but the table of ARP; the counter's sets differ in the course of a test."""
    listed = snapshot.unordered(net.director)
    listed["nft list ruleset"] = sorted(
        net.director.run(["nft", "list", "table", "inet", "vipctl_route"]).stdout.split()
    )
    return listed


def test_of_a_service_that_ends_nothing_stays_among_those_of_others(
    net: Lab, vipctl: Vipctl
) -> None:
    """The director may have such an address itself later on, and be asked for it."""
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17", *ROUTE)
    before = snapshot.unordered(net.director)
    vipctl("add-range", "198.51.100.0/24", "192.0.2.0/24", "--fwmark", "18", *ROUTE)
    vipctl("set-service", "fwmark-18", "--method", "fwmark")
    vipctl("set-service", "fwmark-18", "--method", "route")
    vipctl("remove-range", "192.0.2.0/24")
    vipctl("remove-service", "fwmark-18")
    assert snapshot.unordered(net.director) == before
    assert vipctl("restore")["changed"] is False
    net.director.ip("addr add 198.51.100.1/24 dev eth0", "addr add 192.0.2.1/24 dev eth0")
    own = ["198.51.100.1", "192.0.2.1"]
    assert _arp(net, [*own, "203.0.113.1"]) == {*own}


def test_the_director_asks_and_is_asked_as_ever(net: Lab, vipctl: Vipctl) -> None:
    """VIPs around its own address and a neighbour's; both still find each other."""
    vipctl("add-range", "10.0.0.10-10.0.0.254", "--fwmark", "17", *ROUTE)
    for host in (net.client, net.director):
        host.run(["ip", "neigh", "flush", "all"])
    net.director.run(["ping", "-c1", "-W2", "10.0.0.2"])
    net.client.run(["ping", "-c1", "-W2", "10.0.0.1"])


def test_arp_is_for_this_method(vipctl: Vipctl) -> None:
    for words in (
        ["add-range", "203.0.113.0/24", "--fwmark", "17", "--arp"],
        ["add-range", "203.0.113.0/24", "--fwmark", "17", "--arp", "--method", "fwmark"],
        ["add-service", "web", "--arp"],
    ):
        code, error = vipctl.error(*words)
        assert (code, error["kind"]) == (3, "refused")
        assert "--method route" in error["hint"]
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17", "--arp", *ROUTE)
    code, error = vipctl.error("set-service", "fwmark-17", "--method", "fwmark")
    assert (code, error["kind"]) == (3, "refused")
    assert "--no-arp" in error["hint"]
    vipctl("set-service", "fwmark-17", "--method", "fwmark", "--no-arp")


# pings


def _answering(net: Lab, addresses: Iterable[str]) -> set[str]:
    """Ping all at the same time; return those from whom an answer comes."""

    def answers(address: str) -> bool:
        ping = ["ping", "-c1", "-W0.3", address]
        return net.client.run(ping, check=False).returncode == 0

    asked = list(addresses)
    with ThreadPoolExecutor(len(asked)) as pool:
        return {a for a, answer in zip(asked, pool.map(answers, asked), strict=True) if answer}


def test_pings_are_answered_if_told_to(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", *ROUTE)
    vipctl("add-range", *OTHER_RANGES, "--fwmark", "18", "--ping", "--port", "tcp/80", *ROUTE)
    assert _answering(net, [*VIPS, *OTHERS, *OWN]) == {*OTHERS, *OWN}
    vipctl("set-service", "fwmark-17", "--ping", "--leftover", "drop")
    vipctl("set-service", "fwmark-18", "--no-ping")
    assert _answering(net, [*VIPS, *OTHERS, *OWN]) == {*VIPS, *OWN}
    assert "type nat" not in net.director.run(["nft", "list", "ruleset"]).stdout


# routes


def _routes(host: Namespace) -> dict[str, list[str]]:
    """Return the routes of table local, without and with our protocol."""
    listed = host.run(
        ["sh", "-c", "ip route show table local; ip -6 route show table local"]
    ).stdout.splitlines()
    ours = [line for line in listed if " proto 118 " in line]
    return {"ours": ours, "others": [line for line in listed if line not in ours]}


FOREIGN = (
    "route add local 203.0.113.0/24 dev lo proto static",
    "route add local 203.0.113.0/24 dev lo metric 30319 proto static",
    "route add local 198.18.0.0/15 dev lo",
    "route add local 198.51.100.0/24 dev lo table 99 proto 118 metric 30320",
    "route add blackhole 192.0.2.0/24 metric 30320 proto 118",
    "-6 route add local 2001:db8:1::/64 dev lo proto static metric 1",
    "-6 route add local 2001:db8:9::/48 dev lo",
)


def test_only_its_own_local_routes_are_touched(net: Lab, vipctl: Vipctl) -> None:
    for command in FOREIGN:
        net.director.run(["ip", *command.split()])
    before, foreign = snapshot.kernel(net.director), _routes(net.director)["others"]
    held = (*RANGES, "198.18.5.0/24", "192.0.2.7")
    for words in (
        ["add-range", *held, "--fwmark", "17", *ROUTE],
        ["restore"],
        ["set-service", "fwmark-17", "--arp"],
        ["remove-range", "203.0.113.0/25"],
        ["add-range", *held, "--fwmark", "17"],
    ):
        vipctl(*words)
        assert _routes(net.director)["others"] == foreign, words
    assert sorted(_routes(net.director)["ours"]) == [
        "local 192.0.2.7 dev lo proto 118 scope host metric 30320 ",
        "local 198.18.5.0/24 dev lo proto 118 scope host metric 30320 ",
        "local 2001:db8:1::/64 dev lo proto 118 metric 30320 pref medium",
        "local 203.0.113.0/24 dev lo proto 118 scope host metric 30320 ",
    ]
    net.director.run(["nft", "delete", "table", "inet", "vipctl_route"])
    vipctl("restore")
    assert _routes(net.director)["others"] == foreign
    vipctl("remove-service", "fwmark-17")
    assert snapshot.kernel(net.director) == before


def test_an_address_of_the_directors_own_stays_its_own(net: Lab, vipctl: Vipctl) -> None:
    """Its kernel's route comes first, and is there when the range is gone."""
    own = "10.0.0.1", "fd00::1"
    before = snapshot.kernel(net.director)
    code, error = vipctl.error("add-range", *own, "--fwmark", "17", *ROUTE)
    assert (code, "--force" in error["hint"]) == (3, True)
    vipctl("add-range", *own, "--fwmark", "17", "--force", "--arp", *ROUTE)
    assert vipctl("status")["kernel"] == "as stored"
    for address in own:
        best = net.director.run(["ip", "route", "get", "fibmatch", address]).stdout
        assert "proto kernel" in best
    vipctl("remove-service", "fwmark-17")
    assert snapshot.kernel(net.director) == before


def test_its_neighbours_find_a_director_whose_own_address_is_a_vip(
    net: Lab, vipctl: Vipctl
) -> None:
    words = ["add-range", "10.0.0.0/29", "--fwmark", "17", "--force", *ROUTE]
    code, error = vipctl.error(*words)
    assert code == 3
    assert "--arp" in error["hint"]
    vipctl(*words, "--arp")
    assert vipctl.error("set-service", "fwmark-17", "--no-arp")[0] == 3
    assert _arp(net, ["10.0.0.7"]) == {"10.0.0.7"}


# sources

FORGED = {
    "203.0.113.77": ("224.0.0.5", "255.255.255.255", "127.0.0.1", "0.0.0.0", "10.0.0.1"),
    "2001:db8:1::77": ("ff02::1", "ff0e::1", "::1"),
}


def _validate(net: Lab, rp_filter: int, src_valid_mark: int) -> None:
    for device in ("all", "eth0", "eth1"):
        net.director.sysctl(f"net.ipv4.conf.{device}.rp_filter", rp_filter)
        net.director.sysctl(f"net.ipv4.conf.{device}.src_valid_mark", src_valid_mark)


@pytest.mark.parametrize("rp_filter", [0, 1, 2])
def test_whatever_a_director_does_about_sources(
    net: Lab, vipctl: Vipctl, counter: BeforeIpvs, rp_filter: int
) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", *ROUTE)
    vipctl("add-range", "198.51.100.0/24", "--fwmark", str(0x1000), *ROUTE)
    wanted = dict.fromkeys(VIPS, 17) | {"198.51.100.77": 0x1000}
    forged = [udp(source, vip) for vip, sources in FORGED.items() for source in sources]
    for src_valid_mark in (0, 1):
        _validate(net, rp_filter, src_valid_mark)
        assert accepted(net, counter, wanted) == wanted
        counter.reset()
        transmit(net.client, net.director, *forged)
        settle(net.client, counter)
        assert not {dst for _, dst in counter.counts()} & {*VIPS}
        elsewhere = udp(net.client4, VIPS[0]), udp("10.0.1.254", "198.51.100.77")
        transmit(net.client, net.director, *elsewhere, device="eth1")
        wait_until(lambda: counter.count(0x1000, "198.51.100.77") == 1, "eth1's own is counted")
        assert counter.count(17, VIPS[0]) == (rp_filter != 1), "strict: not by that interface"


# what the operator is told


def test_status_and_lists_name_the_method(vipctl: Vipctl) -> None:
    done = vipctl("add-service", "web", *ROUTE)
    assert done["services"]["web"]["method"] == "route"
    assert vipctl("list-services")["services"]["web"]["arp"] is False
    assert vipctl("status")["services"]["web"]["method"] == "route"
    assert vipctl("export")["services"]["web"]["method"] == "route"


def test_answers_through_the_director_are_warned_of(
    net: Lab, vipctl: Vipctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IPv4 only, not with nat, nor where the director lets such answers pass."""
    monkeypatch.setattr(ipvs, "read", lambda _: {})
    real = ["--check", "add-service", "web", *ROUTE, "--real"]
    for words, warned in (
        (["10.0.1.11", "--forward", "dr"], True),
        (["10.0.1.11", "--forward", "tun"], True),
        (["fd00:1::11", "--forward", "dr"], False),
        (["10.0.1.11", "--forward", "nat"], False),
        (["10.0.1.11", "--forward", "dr", "--method", "fwmark"], False),
    ):
        said = " ".join(vipctl(*real, *words)["warnings"])
        assert ("answers of real servers" in said) is warned, words
    net.director.sysctl("net.ipv4.conf.all.accept_local", 1)
    said = " ".join(vipctl(*real, "10.0.1.11", "--forward", "dr")["warnings"])
    assert "answers of real servers" not in said
