"""`fwmark-iptables`: the scenarios of the `fwmark` method, and what is different."""

import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import pytest

from tests.harness.command import Finished, Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab, family
from tests.harness.netns import Namespace
from tests.harness.servers import TcpServer, UdpServer
from tests.harness.traffic import Outcome, tcp_get, udp_ask, udp_send
from tests.harness.waiting import wait_until
from tests.netns import foreign, snapshot, test_guard
from tests.netns.arrivals import settle
from tests.netns.packets import need_frag, transmit
from tests.netns.test_acceptance import (
    test_a_range_is_accepted_until_it_is_removed,
    test_last_range_of_one_version_takes_its_rules_along,
    test_merges_and_splits_accept_what_a_set_of_addresses_would,
    test_outside_of_the_range_nothing_is_accepted,
    test_prefixes_of_every_length_end_where_they_end,
)
from tests.netns.test_guard import OWN, PATIENCE, RANGES, VIPS
from tests.netns.test_ping import (
    test_answering_can_be_switched,
    test_ports_do_not_matter,
    test_shared_vips_answer,
    test_vips_answer_if_told_to,
)
from tests.netns.test_source_validation import (
    test_forged_sources_are_not,
    test_only_strict_filtering_minds_the_interface,
    test_sources_without_a_route_are_refused_by_any_filtering,
    test_vips_are_accepted,
)
from vipctl.methods import fwmark_iptables
from vipctl.model import Acceptance, Entry, Service, Shape

__all__ = [
    "test_a_range_is_accepted_until_it_is_removed",
    "test_answering_can_be_switched",
    "test_forged_sources_are_not",
    "test_last_range_of_one_version_takes_its_rules_along",
    "test_merges_and_splits_accept_what_a_set_of_addresses_would",
    "test_only_strict_filtering_minds_the_interface",
    "test_outside_of_the_range_nothing_is_accepted",
    "test_ports_do_not_matter",
    "test_prefixes_of_every_length_end_where_they_end",
    "test_shared_vips_answer",
    "test_sources_without_a_route_are_refused_by_any_filtering",
    "test_vips_answer_if_told_to",
    "test_vips_are_accepted",
]
ROUTER = {4: "192.0.2.200", 6: "2001:db8:f::200"}
SAVED = ("iptables-legacy-save", "ip6tables-legacy-save", "ipset save")
PORTED = [
    test_guard._with_ports,
    test_guard._without_real_servers,
]


class ByIptables(Vipctl):
    """vipctl, with every service accepted by this method."""

    __slots__ = ()

    def text(self, *words: str) -> Finished:
        """Add the option where a service may begin."""
        for command in ("add-range", "add-service"):
            if command in words:
                words = (*words, "--method", "fwmark-iptables")
        return super().text(*words)


@pytest.fixture
def vipctl(net: Lab, tmp_path: Path) -> Vipctl:
    """vipctl on the director."""
    return ByIptables(net.director, tmp_path / "state")


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


def saved(host: Namespace) -> str:
    """Return all of legacy iptables and ipset as their own tools save it."""
    return "".join(host.run(command.split()).stdout for command in SAVED)


def ours(host: Namespace) -> list[str]:
    """Return the lines of it that name vipctl."""
    return [line for line in saved(host).splitlines() if "vipctl" in line.lower()]


def test_the_last_service_takes_everything_along(net: Lab, vipctl: Vipctl) -> None:
    before = snapshot.kernel(net.director)
    vipctl("add-range", *RANGES, "--fwmark", "17", "--ping", "--port", "tcp/80")
    vipctl("add-range", *RANGES, "--fwmark", "18", "--ping", "--port", "udp/53")
    vipctl("add-service", "web")
    vipctl("add-range", "192.0.2.0/29", "--service", "web")
    assert len(ours(net.director)) > 50
    for name in vipctl("list-services")["services"]:
        vipctl("remove-service", name)
    assert ours(net.director) == []
    assert snapshot.kernel(net.director) == before
    assert vipctl("status")["kernel"] == "as stored"


def test_one_ip_version_has_nothing_of_the_other(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", RANGES[0], "--fwmark", "17", "--ping")
    for host, version in ((net.director, "6"), (net.director, "4")):
        tables = host.run([f"ip{version.replace('4', '')}tables-legacy-save"]).stdout
        assert ("VIPCTL" in tables) == (version == "4")
    assert net.director.run(["ipset", "list", "-n"]).stdout.split() == ["vipctl4"]
    vipctl("add-range", RANGES[1], "--fwmark", "17")
    both = ours(net.director)
    vipctl("remove-range", RANGES[1])
    assert len(ours(net.director)) < len(both)
    assert net.director.run(["ipset", "list", "-n"]).stdout.split() == ["vipctl4"]


def test_only_tables_in_use_are_registered(net: Lab, vipctl: Vipctl) -> None:
    """python-iptables by itself would register all, and so the nat table."""
    vipctl("add-range", RANGES[0], "--fwmark", "17")
    vipctl("status")
    with net.director:
        names = Path("/proc/thread-self/net/ip_tables_names").read_text().split()
        names6 = Path("/proc/thread-self/net/ip6_tables_names").read_text().split()
    assert (sorted(names), names6) == (["filter", "mangle"], [])


@pytest.mark.parametrize(
    ("prefix", "vip", "fragments"),
    [("203.0.113.0/24", "203.0.113.77", 1), ("2001:db8:1::/64", "2001:db8:1::77", 3)],
)
def test_every_kind_of_packet_is_accepted(
    net: Lab, vipctl: Vipctl, prefix: str, vip: str, fragments: int
) -> None:
    """Nobody answers; IPv6 reassembles after LOCAL_IN."""
    vipctl("add-range", prefix, "--fwmark", "17")
    with LocalInCounter(net.director) as counter:
        tcp_get(net.client, vip, 80, timeout=PATIENCE)
        assert counter.count(17, vip) == 1, "a TCP SYN"
        counter.reset()
        transmit(net.client, net.director, need_frag(ROUTER[6 if ":" in vip else 4], vip))
        settle(net.client, counter)
        assert counter.count(17, vip) == 1, "an ICMP error about a VIP's answer"
        counter.reset()
        udp_send(net.client, [vip], 53, nbytes=4000)
        settle(net.client, counter)
        assert counter.count(17, vip) == fragments


def test_whose_ttl_ends_here_is_told_so_by_the_director(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", RANGES[0], "--fwmark", "17")
    net.director.ip("route add default via 10.0.0.2")
    expired = "ip saddr 10.0.0.1 icmp type time-exceeded counter"
    foreign.hook(net.client, "expired", "prerouting priority 0", expired)
    with LocalInCounter(net.director) as counter:
        assert udp_ask(net.client, VIPS[0], 9, ttl=1).outcome is Outcome.UNREACHABLE
        assert foreign.packets(net.client, "expired") == 1
        assert counter.count(17, VIPS[0]) == 0
        udp_ask(net.client, VIPS[0], 9, ttl=2, timeout=0.1)
        assert counter.count(17, VIPS[0]) == 1


def _shared(vipctl: Vipctl, *options: str) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", "--port", "tcp/80", *options)
    vipctl("add-range", *RANGES, "--fwmark", "18", "--port", "udp/80", *options)


@pytest.mark.usefixtures("_listeners")
@pytest.mark.parametrize("arrange", [*PORTED, _shared])
def test_own_sockets_are_not_reachable_where_ipvs_has_nothing(
    net: Lab, vipctl: Vipctl, arrange: test_guard.Arrange
) -> None:
    arrange(vipctl)
    # Linux has nowhere to send an IPv4 error from: its source would be the VIP.
    assert test_guard._outcomes(net, VIPS) == [
        *(Outcome.REFUSED, Outcome.REFUSED, Outcome.TIMEOUT, Outcome.TIMEOUT),
        *(Outcome.REFUSED, Outcome.REFUSED, Outcome.REFUSED, Outcome.REFUSED),
    ]
    assert set(test_guard._outcomes(net, OWN)) == {Outcome.ANSWERED}


@pytest.mark.usefixtures("_listeners")
@pytest.mark.parametrize("arrange", [*PORTED, _shared])
def test_dropping_is_silent(net: Lab, vipctl: Vipctl, arrange: test_guard.Arrange) -> None:
    arrange(vipctl, "--leftover", "drop")
    assert set(test_guard._outcomes(net, VIPS)) == {Outcome.TIMEOUT}
    assert set(test_guard._outcomes(net, OWN)) == {Outcome.ANSWERED}


@pytest.mark.usefixtures("_listeners")
def test_what_is_exposed_while_the_ipvs_service_is_missing(net: Lab, vipctl: Vipctl) -> None:
    """As the module's docstring says: UDP sockets bound to no address get it; nobody answers."""
    vipctl("add-range", *RANGES, "--fwmark", "17")
    for vip in VIPS:
        with net.director, socket.socket(family(vip), socket.SOCK_DGRAM) as exposed:
            exposed.bind(("", 5353))
            exposed.settimeout(PATIENCE)
            udp_send(net.client, [vip], 5353, nbytes=7)
            assert len(exposed.recv(100)) == 7
    assert set(test_guard._outcomes(net, VIPS)) == {Outcome.TIMEOUT}
    assert tcp_get(net.client, VIPS[1], 23).outcome is Outcome.REFUSED, "a reset leaves"
    assert set(test_guard._outcomes(net, OWN)) == {Outcome.ANSWERED}


def test_protocols_that_ipvs_does_not_know_are_refused(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    with LocalInCounter(net.director) as counter:
        for protocol, passes in ((47, 0), (4, 0), (50, 1), (132, 1)):
            counter.reset()
            for vip in VIPS:
                with net.client, socket.socket(family(vip), socket.SOCK_RAW, protocol) as raw:
                    raw.sendto(bytes(32), (vip, 0))
            settle(net.client, counter)
            assert [counter.count(17, vip) for vip in VIPS] == [passes] * 2, protocol


def test_of_icmp_only_errors_pass(net: Lab, vipctl: Vipctl) -> None:
    """IPVS takes nothing else of it, and the director would answer."""
    vipctl("add-range", *RANGES, "--fwmark", "17")
    with LocalInCounter(net.director) as counter:
        for vip in VIPS:
            net.client.run(["ping", "-c1", "-W0.1", vip], check=False)
        settle(net.client, counter)
        assert [counter.count(17, vip) for vip in VIPS] == [0, 0]


def test_marks_of_others_alone_are_not_believed(net: Lab, vipctl: Vipctl) -> None:
    """keepalived marks addresses of the director."""
    vipctl("add-range", *RANGES, "--fwmark", "17", "--port", "tcp/80")
    own = "ip daddr 10.0.0.1", "ip6 daddr fd00::1"
    marking = [f"{match} meta mark set 17" for match in own]
    foreign.hook(net.director, "others", "prerouting priority -100", *marking)
    with LocalInCounter(net.director) as counter:
        udp_send(net.client, list(OWN), 9)
        wait_until(lambda: all(counter.count(17, a) for a in OWN), "they came through")


def test_a_mark_that_others_set_first_is_overridden(net: Lab, vipctl: Vipctl) -> None:
    rule = "-t mangle -A PREROUTING -j MARK --set-mark 99"
    net.director.run(["iptables-legacy", *rule.split()])
    vipctl("add-range", RANGES[0], "--fwmark", "17")
    with LocalInCounter(net.director) as counter:
        udp_send(net.client, [VIPS[0]], 9)
        wait_until(lambda: counter.count(17, VIPS[0]) > 0, "it has the service's mark")


def test_conntrack_comes_with_ping_and_goes_with_it(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    assert "REDIRECT" not in saved(net.director)
    vipctl("set-service", "fwmark-17", "--ping")
    assert saved(net.director).count("-j REDIRECT") == 2
    vipctl("set-service", "fwmark-17", "--no-ping")
    assert "REDIRECT" not in saved(net.director)


class Stream(threading.Thread):
    """Datagrams to a VIP from the client, without end and without loss on the way."""

    def __init__(self, client: Namespace, vip: str) -> None:
        super().__init__()
        with client:
            self.socket = socket.socket(family(vip), socket.SOCK_DGRAM)
        self.vip, self.sent, self.going = vip, 0, True

    def run(self) -> None:
        """Send until told to stop."""
        with self.socket:
            while self.going:
                self.socket.sendto(b"x", (self.vip, 9))
                self.sent += 1

    def __enter__(self) -> "Stream":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.going = False
        self.join()


@pytest.mark.parametrize("vip", VIPS)
def test_no_packet_is_lost_while_all_is_replaced(net: Lab, vipctl: Vipctl, vip: str) -> None:
    """A new set is swapped in; prefixes merge and split; services come and go, ports as well."""
    vipctl("add-range", *RANGES, "--fwmark", "17")
    foreign_prefix = {"203.0.113.77": "192.0.2.9", "2001:db8:1::77": "2001:db8:9::9"}[vip]
    name = "vipctl6" if ":" in vip else "vipctl4"
    wider = {"203.0.113.77": "203.0.112.0/24", "2001:db8:1::77": "2001:db8::/64"}[vip]
    with LocalInCounter(net.director) as counter:
        with Stream(net.client, vip) as stream:
            for _ in range(3):
                net.director.run(["ipset", "add", name, foreign_prefix])
                assert vipctl("restore")["changed"] is True
                vipctl("add-range", wider, "--fwmark", "17")
                vipctl("remove-range", wider)
                vipctl("add-range", wider, "--fwmark", "18", "--ping", "--port", "tcp/80")
                vipctl("remove-service", "fwmark-18")
        settle(net.client, counter)
        assert stream.sent > 1000
        assert counter.counts().get((17, vip)) == stream.sent


def test_a_service_that_changes_its_mark_loses_no_packet(net: Lab) -> None:
    """And each packet has one of its marks."""
    entry = Entry(Shape(4, 0, 24), int(ip_address(VIPS[0])) & ~0xFF, 0)
    states = [
        (Acceptance((Service(f"fwmark-{mark}", mark),), frozenset({entry.shape})), mark)
        for mark in (17, 18, 0x1001, 17)
    ]
    with net.director:
        fwmark_iptables.load(states[0][0], [entry._replace(mark=17)])
    with LocalInCounter(net.director) as counter:
        with Stream(net.client, VIPS[0]) as stream, net.director:
            for (before, old), (after, new) in pairwise(states):
                removed, added = [entry._replace(mark=old)], [entry._replace(mark=new)]
                fwmark_iptables.apply(before, after, removed, added)
        settle(net.client, counter)
        got = {mark: n for (mark, dst), n in counter.counts().items() if dst == VIPS[0]}
        assert set(got) == {17, 18, 0x1001}
        assert sum(got.values()) == stream.sent
