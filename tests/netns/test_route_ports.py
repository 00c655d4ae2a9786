"""`route`: services that share VIPs, as with the `fwmark` method."""

from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import Outcome, tcp_get, udp_ask
from tests.netns.gate import Gate
from tests.netns.route import ByRoute
from tests.netns.test_ports import (
    RANGES,
    VIPS,
    test_all_fragments_are_with_the_port,
    test_each_service_gets_its_port,
    test_icmp_errors_are_for_ipvs_whatever_the_ports,
    test_one_range_can_be_inside_the_other,
    test_ports_can_change_hands,
    test_services_without_real_servers_are_refused_before_ipvs,
    test_three_services_share,
    test_what_one_gives_up_the_other_keeps,
)

__all__ = [
    "test_all_fragments_are_with_the_port",
    "test_each_service_gets_its_port",
    "test_icmp_errors_are_for_ipvs_whatever_the_ports",
    "test_one_range_can_be_inside_the_other",
    "test_ports_can_change_hands",
    "test_services_without_real_servers_are_refused_before_ipvs",
    "test_three_services_share",
    "test_what_one_gives_up_the_other_keeps",
]


@pytest.fixture
def vipctl(net: Lab, tmp_path: Path) -> Vipctl:
    """vipctl on the director."""
    return ByRoute(net.director, tmp_path / "state")


@pytest.fixture
def ipvs(net: Lab) -> Gate:
    """What IPVS would see."""
    return Gate(net.director)


def test_other_ports_are_refused(net: Lab, vipctl: Vipctl, ipvs: Gate) -> None:
    """With all ICMP errors: a VIP is the source that they need."""
    vipctl("add-range", *RANGES, "--fwmark", "17", "--port", "tcp/80")
    assert {tcp_get(net.client, vip, 53).outcome for vip in VIPS} == {Outcome.REFUSED}
    assert {udp_ask(net.client, vip, 80).outcome for vip in VIPS} == {Outcome.REFUSED}
    assert ipvs.seen() == {}


def test_addresses_of_the_director_may_be_inside(net: Lab, vipctl: Vipctl) -> None:
    """And its anycast address, where the range begins: both are routes of the kernel's own."""
    net.director.ip("addr add 198.51.100.0/25 dev eth0", "addr add 2001:db8:7::1/64 dev eth0 nodad")
    vipctl("add-range", "198.51.100.0/24", "2001:db8:7::/64", "--fwmark", "17", "--force", "--arp")
    assert vipctl("status")["kernel"] == "as stored"
    net.director.ip("route del local 198.51.100.0/24 dev lo table local proto 118")
    assert vipctl("status")["kernel"] == "differs"
