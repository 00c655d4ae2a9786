"""When the kernel refuses half-way, kernel and stored state are as they were: exit 4, and why."""

from pathlib import Path

import pytest
from nftables import Nftables

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns import snapshot
from tests.netns.rollback import assert_any_message_can_fail
from tests.netns.zygote import Zygote

VIPS = {"203.0.113.77": 17, "2001:db8:1::77": 17}
APPLIED = """
services:
  fwmark-18: {ranges: [203.0.113.0/25, "2001:db8:3::/48"]}
  web: {ranges: [192.0.2.0/24], ports: [udp/53]}
"""
COMMANDS = {
    "new service": "add-range 192.0.2.0/24 2001:db8:2::/48 --fwmark 18",
    "new length": "add-range 203.0.112.0/25 --fwmark 17",
    "removal": "remove-range 203.0.113.0/24 2001:db8:1::/64",
    "other mark": "set-service web --fwmark 77 --ping",
    "apply": "apply {file}",
}


@pytest.fixture
def stored(vipctl: Vipctl) -> Vipctl:
    """vipctl with two services."""
    vipctl("add-range", "203.0.113.0/24", "2001:db8:1::/64", "--fwmark", "17")
    vipctl("add-service", "web", "--port", "tcp/80")
    vipctl("add-range", "198.51.100.0/30", "--service", "web")
    return vipctl


def test_a_table_of_somebody_elses_is_in_the_way(net: Lab, vipctl: Vipctl) -> None:
    """Its rules and routes are there already when the kernel refuses."""
    vipctl("add-range", "198.51.100.0/24", "--fwmark=18", "--method=route")
    with net.director:
        owner = Nftables()
        owner.cmd("add table inet vipctl { flags owner; }")
    before = snapshot.unordered(net.director), vipctl("list-services")
    code, error = vipctl.error("add-range", "203.0.113.0/24", "--fwmark=17", "--method=fwmark")
    assert (code, "nftables" in error["message"]) == (5, True)
    assert (snapshot.unordered(net.director), vipctl("list-services")) == before
    del owner


def test_there_is_no_ipv6(net: Lab, stored: Vipctl) -> None:
    stored("remove-range", "2001:db8:1::/64")
    net.director.ip("link set lo down")
    net.director.ip("link set lo up")
    stored("restore")
    net.director.sysctl("net.ipv6.conf.lo.disable_ipv6", 1)
    before = snapshot.kernel(net.director), stored("export")
    code, error = stored.error("add-range", "2001:db8:1::/64", "--fwmark", "17")
    assert (code, error["kind"]) == (5, "missing")
    assert "net.ipv6.conf.lo.disable_ipv6" in error["hint"]
    assert (snapshot.kernel(net.director), stored("export")) == before


@pytest.mark.parametrize("name", COMMANDS)
def test_any_message_can_fail(
    stored: Vipctl, tmp_path: Path, without_buffers: Zygote, name: str
) -> None:
    assert_any_message_can_fail(stored, without_buffers, tmp_path, COMMANDS[name], APPLIED)
