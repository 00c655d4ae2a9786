"""Whether answers from a VIP are accepted: the kernel is asked, without a packet."""

import socket
from ipaddress import ip_address

import pytest

from tests.harness.lab import Lab, lab
from tests.netns import foreign
from vipctl.linux import answers

VIP, RIP = ip_address("203.0.113.7"), ip_address("10.0.1.11")
VIP6, RIP6 = ip_address("2001:db8:1::7"), ip_address("fd00:1::11")


@pytest.fixture
def routed(net: Lab) -> Lab:
    """A director whose default route is another device than that to its real servers."""
    net.director.ip("route add default via 10.0.0.2", "route add ::/0 via fd00::2")
    return net


def _refused(net: Lab, vip: object = VIP, rip: object = RIP) -> str:
    with net.director:
        return answers.refused(vip, rip)  # type: ignore[arg-type]


@pytest.mark.parametrize("where", ["all", "eth1"])
def test_strict_source_validation(routed: Lab, where: str) -> None:
    filtered = f"net.ipv4.conf.{where}.rp_filter"
    assert _refused(routed) == ""
    routed.director.sysctl(filtered, 2)
    assert _refused(routed) == ""
    routed.director.sysctl(filtered, 1)
    assert "sysctl -w net/ipv4/conf/eth1/rp_filter=2" in _refused(routed)
    assert _refused(routed, VIP6, RIP6) == ""
    routed.director.run(["sysctl", "-w", "net/ipv4/conf/eth1/rp_filter=2"])
    assert _refused(routed) == ""


def test_the_same_device_leads_both_ways(net: Lab) -> None:
    net.director.ip("route add default via 10.0.1.11")
    net.director.sysctl("net.ipv4.conf.all.rp_filter", 1)
    assert _refused(net) == ""


def test_a_vip_that_is_the_directors(routed: Lab) -> None:
    routed.director.ip(f"route add local {VIP} dev lo")
    assert "its source is not valid to the kernel" in _refused(routed)


def test_real_servers_without_a_route(net: Lab) -> None:
    assert _refused(net, VIP, ip_address("192.0.2.1")) == ""


def test_it_is_what_becomes_of_a_packet(routed: Lab) -> None:
    """That which the kernel is asked about, sent."""
    with lab(reals=1) as built:
        director, real = built.director, built.reals[0]
        director.ip("route add default via 10.0.0.2")
        real.ip(f"addr add {VIP}/32 dev lo")
        foreign.hook(director, "seen", "input priority 0", "udp dport 9 counter")
        for value, heard in ((0, 1), (1, 0), (2, 1)):
            director.sysctl("net.ipv4.conf.all.rp_filter", value)
            before = foreign.packets(director, "seen")
            with real, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
                own.bind((str(VIP), 0))
                own.sendto(b"answer", ("10.0.1.1", 9))
            assert foreign.packets(director, "seen") - before == heard
            with director:
                assert bool(answers.refused(VIP, RIP)) is not bool(heard)
