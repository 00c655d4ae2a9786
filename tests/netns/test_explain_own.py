"""`explain` where VIPs are addresses of the director, or local, or asked for by the director."""

import json
import socket
from pathlib import Path

import pytest

from tests.harness.lab import Lab
from tests.harness.servers import UdpServer
from tests.harness.traffic import tcp_get
from tests.netns import foreign
from tests.netns.ailments import ANYBODY, BY_VERSION, METHODS, TPROXY, Ailment
from tests.netns.explaining import NO_IPVS, causes, explained, hints, site
from tests.netns.firewalls import FIREWALLS
from tests.netns.route import BeforeIpvs
from vipctl.linux import listeners

SHORT = 0.3  # seconds


@pytest.mark.parametrize("method", METHODS)
def test_an_address_of_the_director_is_a_vip_all_the_same(tmp_path: Path, method: str) -> None:
    """Its packets come to where IPVS, or the proxy, takes them."""
    with site(tmp_path, method, Ailment("")) as (net, vipctl):
        for version, found in BY_VERSION.items():
            net.director.ip(f"address add {found['vip']} dev eth1{' nodad' * (version == 6)}")
            told = explained(vipctl, version)
            assert (set(told["causes"]) - {NO_IPVS}, hints(told)) == (set(), ["vip-is-own-address"])
            if method == TPROXY:
                assert tcp_get(net.client, found["vip"], 80).answered
                continue
            with BeforeIpvs(net.director) as counter:
                tcp_get(net.client, found["vip"], 80, timeout=SHORT)
                assert counter.count(0x1000, found["vip"])


@pytest.mark.parametrize("method", METHODS)
def test_an_address_of_a_passive_director(tmp_path: Path, method: str) -> None:
    """Rules by mark refuse what is for VIPs, and come behind those of table local."""
    with site(tmp_path, method, Ailment("")) as (net, vipctl):
        net.director.ip("address add 203.0.113.7 dev eth1")
        vipctl("deactivate")
        answers = not causes(vipctl, 4)
        if method == TPROXY:
            assert tcp_get(net.client, "203.0.113.7", 80, timeout=SHORT).answered is answers
            return
        with BeforeIpvs(net.director) as counter:
            tcp_get(net.client, "203.0.113.7", 80, timeout=SHORT)
            assert (counter.count(0x1000, "203.0.113.7") > 0) is answers


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("words", ["deactivate", "deactivate --service web"])
def test_a_passive_director_serves_itself(tmp_path: Path, method: str, words: str) -> None:
    """But for what a router sends back to it, by tproxy. Real answers: tests/vm/test_role.py."""
    with site(tmp_path, method, Ailment("")) as (_, vipctl):
        vipctl(*words.split())
        assert ("passive" in causes(vipctl, 6, ITSELF[6])) is (method == TPROXY)
        assert "passive" in causes(vipctl, 6)


def test_an_address_of_the_director_is_local_without_routes_of_ours(tmp_path: Path) -> None:
    with site(tmp_path, "fwmark", Ailment("")) as (net, vipctl):
        net.director.ip("address add 2001:db8:1::7 dev eth1 nodad")
        net.director.run(["sysctl", "-w", "net.ipv6.conf.lo.disable_ipv6=1"])
        assert causes(vipctl, 6) == set()
        with BeforeIpvs(net.director) as counter:
            tcp_get(net.client, "2001:db8:1::7", 80, timeout=SHORT)
            assert counter.count(0x1000, "2001:db8:1::7")


def test_a_firewall_that_asks_what_is_local(tmp_path: Path) -> None:
    """By route, VIPs are, but for the first of an IPv6 prefix, which is anycast to nftables."""
    with site(tmp_path, "route", Ailment("")) as (net, vipctl):
        FIREWALLS["ufw"].load(net.director)
        found = {}
        with BeforeIpvs(net.director) as counter:
            for vip in ("203.0.113.0", "203.0.113.255", "2001:db8:1::", "2001:db8:1::1"):
                tcp_get(net.client, vip, 80, timeout=SHORT)
                told = json.loads(vipctl.text("--json", "explain", vip, "tcp/80").stdout)
                found[vip] = "firewall-input" not in told["causes"], counter.count(0x1000, vip) > 0
        assert {vip for vip, both in found.items() if both == (False, False)} == {"2001:db8:1::"}
        assert sum(both == (True, True) for both in found.values()) == 3


def test_an_address_of_the_director_is_local_to_a_firewall(tmp_path: Path) -> None:
    with site(tmp_path, "fwmark", Ailment("")) as (net, vipctl):
        FIREWALLS["ufw"].load(net.director)
        assert causes(vipctl, 4) == {"firewall-input"}
        net.director.ip("address add 203.0.113.7 dev eth1")
        assert causes(vipctl, 4) == set()
        with BeforeIpvs(net.director) as counter:
            tcp_get(net.client, "203.0.113.7", 80, timeout=SHORT)
            assert counter.count(0x1000, "203.0.113.7")


def test_what_the_director_asks_a_proxy_for_at_an_address_of_its_own(tmp_path: Path) -> None:
    with site(tmp_path, TPROXY, Ailment("")) as (net, vipctl):
        for address, found in ((None, {"asked-from-director"}), ("203.0.113.7/32", set())):
            if address:
                net.director.ip(f"address add {address} dev eth1")
            assert causes(vipctl, 4, ITSELF[4]) == found
            reply = tcp_get(net.director, "203.0.113.7", 80, source="10.0.0.1", timeout=SHORT)
            assert reply.answered is (not found)


RULED = "rule-before-ours"
ITSELF = {4: "--from 10.0.0.1", 6: "--from fd00::1"}


def test_what_the_director_asks_a_proxy_for_comes_back_to_it(tmp_path: Path) -> None:
    """By tproxy, IPv6, from the router that the VIP's route leads to."""
    with site(tmp_path, TPROXY, Ailment("")) as (net, vipctl):
        net.client.sysctl("net.ipv6.conf.all.forwarding", 1)
        for damage, found in (
            (None, set()),
            ("-6 rule add pref 100 iif eth0 to 2001:db8:1::/64 blackhole", {RULED}),
        ):
            if damage:
                net.director.run(["ip", *damage.split()])
            assert causes(vipctl, 6, ITSELF[6]) == found
            reply = tcp_get(net.director, "2001:db8:1::7", 80, source="fd00::1", timeout=SHORT)
            assert reply.answered is (not found)


def test_a_director_without_a_route_to_the_vip_sends_nothing(tmp_path: Path) -> None:
    with site(tmp_path, "fwmark", Ailment("")) as (net, vipctl), net.director:
        for version in ANYBODY:
            assert causes(vipctl, version, ITSELF[version]) == set()
            net.director.run(["ip", f"-{version}", "route", "del", "default"])
            assert causes(vipctl, version, ITSELF[version]) == {"asked-from-director"}
            with pytest.raises(OSError, match="unreachable"):
                socket.create_connection((BY_VERSION[version]["vip"], 80), timeout=SHORT)


def test_answers_to_the_director_itself_pass_input(tmp_path: Path) -> None:
    with site(tmp_path, "fwmark", Ailment("")) as (net, vipctl):
        assert [causes(vipctl, version, ITSELF[version]) for version in ANYBODY] == [set(), set()]
        FIREWALLS["nothing but a policy"].load(net.director)
        for version in ANYBODY:
            assert causes(vipctl, version, ITSELF[version]) == {"firewall-input"}


def test_a_connection_is_no_listener(net: Lab) -> None:
    with net.director:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert (listeners.on_port(4, port), listeners.on_port(6, port)) == (True, False)
        with socket.create_connection(("127.0.0.1", port)), listener.accept()[0]:
            listener.close()
            assert not listeners.on_port(4, port)


def test_a_datagram_socket_that_has_a_peer_is_no_listener(net: Lab) -> None:
    with net.director, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as listener:
        listener.bind(("::", 0))
        port = listener.getsockname()[1]
        assert [listeners.on_port(version, port, "udp") for version in (4, 6)] == [False, True]
        listener.connect(("::1", 9))
        assert not listeners.on_port(6, port, "udp")


def test_a_proxy_of_datagrams_has_a_socket(tmp_path: Path) -> None:
    with site(tmp_path, TPROXY, Ailment("", proxy=False)) as (net, vipctl):

        def named() -> list[str]:
            done = vipctl.text("--json", "explain", BY_VERSION[6]["vip"], "udp/53").stdout
            found: list[str] = json.loads(done)["causes"]
            return found

        assert named() == ["proxy-not-listening"]
        UdpServer(net.director, "::", 8080, "proxy")
        assert named() == []


@pytest.mark.parametrize(("port", "passes"), [(80, False), (81, True)])
def test_a_firewall_drops_what_a_proxy_answers_the_director(
    tmp_path: Path, port: int, passes: bool
) -> None:
    with site(tmp_path, TPROXY, Ailment("")) as (net, vipctl):
        foreign.hook(net.director, "firewall", "input priority 0", f"tcp sport {port} drop")
        net.director.ip("address add 203.0.113.7/32 dev eth1")
        reply = tcp_get(net.director, "203.0.113.7", 80, source="10.0.0.1", timeout=SHORT)
        assert reply.answered is passes
        assert causes(vipctl, 4, ITSELF[4]) == (set() if passes else {"firewall-input"})
