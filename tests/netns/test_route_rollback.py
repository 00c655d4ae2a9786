"""The `route` method when the kernel refuses half-way: all is as it was, exit 4, and why."""

from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns import snapshot
from tests.netns.rollback import assert_any_message_can_fail
from tests.netns.route import ROUTE
from tests.netns.zygote import Zygote

APPLIED = """
services:
  fwmark-18: {method: route, arp: true, ranges: [203.0.113.0/25, "2001:db8:3::/48"]}
  web: {method: route, ranges: [192.0.2.0/24], ports: [udp/53]}
"""
COMMANDS = {
    "new service": "add-range 192.0.2.0/24 2001:db8:2::/48 --fwmark 18 --method route",
    "removal": "remove-range 203.0.113.0/24 2001:db8:1::/64",
    "arp and mark": "set-service web --arp --fwmark 77",
    "other method": "set-service web --method fwmark",
    "apply": "apply {file}",
}


@pytest.fixture
def stored(vipctl: Vipctl) -> Vipctl:
    """vipctl with two services."""
    vipctl("add-range", "203.0.113.0/24", "2001:db8:1::/64", "--fwmark", "17", *ROUTE)
    vipctl("add-service", "web", "--port", "tcp/80", *ROUTE)
    vipctl("add-range", "198.51.100.0/30", "--service", "web")
    return vipctl


def test_no_route_of_ipv6_can_be_had(net: Lab, vipctl: Vipctl) -> None:
    """Nothing is left of a command's IPv4 routes, whichever came first."""
    net.director.ip("link set lo down")  # those of IPv4 can
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17", *ROUTE)
    before = snapshot.unordered(net.director), vipctl("export")
    addresses = [f"198.51.100.{host}" for host in range(0, 256, 2)]
    for mark in ("17", "18"):
        words = ["add-range", *addresses, "2001:db8:1::/64", "--fwmark", mark, *ROUTE]
        code, error = vipctl.error(*words)
        assert (code, error["kind"]) == (4, "kernel")
        assert "2001:db8:1::/64" in error["message"]
        assert (snapshot.unordered(net.director), vipctl("export")) == before
        assert vipctl("status")["kernel"] == "as stored"


@pytest.mark.parametrize("name", COMMANDS)
def test_any_message_can_fail(
    stored: Vipctl, tmp_path: Path, without_buffers: Zygote, name: str
) -> None:
    assert_any_message_can_fail(stored, without_buffers, tmp_path, COMMANDS[name], APPLIED)
