"""The `route` method: who asks for a VIP by ARP is answered where the service says so."""

import socket
import struct
from collections.abc import Iterable
from ipaddress import ip_address

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns import snapshot
from tests.netns.addresses import OWN, RANGES
from tests.netns.arrivals import accepted
from tests.netns.route import ROUTE, BeforeIpvs

ETH_P_ARP = 0x0806  # linux/if_ether.h
ARP = struct.Struct("!HHBBH6s4s6s4s")  # linux/if_arp.h
NEAR = "10.0.0.64/28"  # in the client's and the director's subnet


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
    net: Lab, vipctl: Vipctl, before_ipvs: BeforeIpvs
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
        assert accepted(net, before_ipvs, vips) == reached
    vipctl("set-service", "fwmark-18", "--arp")
    vipctl("set-service", "fwmark-17", "--arp")
    assert _arp(net, ["10.0.0.70", "192.0.2.1"]) == {"10.0.0.70", "192.0.2.1"}
    vipctl("set-service", "fwmark-17", "--no-arp")
    assert _arp(net, ["10.0.0.70", "192.0.2.1"]) == {"192.0.2.1"}


def _without_arp(net: Lab) -> dict[str, list[str]]:
    """Return all but the table of ARP; the counter's sets differ in the course of a test."""
    listed = snapshot.unordered(net.director)
    listed["nft -s list ruleset"] = sorted(
        net.director.run(["nft", "-s", "list", "table", "inet", "vipctl_route"]).stdout.split()
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


def test_a_passive_director_does_not_answer(net: Lab, vipctl: Vipctl) -> None:
    vips = ["198.51.100.77", "203.0.113.77"]
    for vip, mark in zip(vips, ("17", "18"), strict=True):
        vipctl("add-range", vip, "--fwmark", mark, "--arp", "--port", "udp/9", *ROUTE)
    vipctl("add-range", vips[0], "--fwmark", "19", "--arp", "--port", "tcp/80", *ROUTE)
    assert _arp(net, vips) == {*vips}
    for words, answered in (
        (["deactivate", "--service", "fwmark-18"], vips[:1]),
        (["deactivate"], []),
        (["activate"], vips[:1]),
        (["deactivate", "--service", "fwmark-17"], vips[:1]),  # another service has it too
        (["deactivate", "--service", "fwmark-19"], []),
        (["activate", "--service", "fwmark-17"], vips[:1]),
    ):
        vipctl(*words)
        assert _arp(net, vips) == {*answered}, words
        assert vipctl("status")["kernel"] == "as stored"


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
