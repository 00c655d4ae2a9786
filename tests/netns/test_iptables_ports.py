"""`fwmark-iptables`: services that share VIPs, as with the `fwmark` method."""

from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns import foreign
from tests.netns.gate import Gate
from tests.netns.iptables import ByIptables
from tests.netns.test_ports import (
    test_all_fragments_are_with_the_port,
    test_each_service_gets_its_port,
    test_icmp_errors_are_for_ipvs_whatever_the_ports,
    test_one_range_can_be_inside_the_other,
    test_other_ports_are_refused,
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
    "test_other_ports_are_refused",
    "test_ports_can_change_hands",
    "test_services_without_real_servers_are_refused_before_ipvs",
    "test_three_services_share",
    "test_what_one_gives_up_the_other_keeps",
]


@pytest.fixture
def vipctl(net: Lab, tmp_path: Path) -> Vipctl:
    """vipctl on the director."""
    return ByIptables(net.director, tmp_path / "state")


@pytest.fixture
def ipvs(net: Lab) -> Gate:
    """What IPVS would see; behind it, servers without listeners."""
    refusing = "meta mark 1-99 meta l4proto tcp reject with tcp reset"
    foreign.hook(net.director, "servers", "input priority 99", refusing)
    return Gate(net.director)
