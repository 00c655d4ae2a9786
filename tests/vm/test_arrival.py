"""A VRF: its rule comes before vipctl's, and has no table of its own."""

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab

VIPS = {"-4": "203.0.113.7", "-6": "2001:db8:1::7"}


@pytest.mark.parametrize("version", VIPS)
def test_a_vrf_that_clients_come_by_is_named(net: Lab, vipctl: Vipctl, version: str) -> None:
    vip = VIPS[version]
    assert vipctl("add-range", vip, "--fwmark", "17")["warnings"] == []
    net.director.run(["modprobe", "vrf"])
    net.director.ip("link add red type vrf table 10", "link add blue type dummy", "link set red up")
    try:
        net.director.ip("link set blue master red", "link set blue up")
        net.director.run(f"ip {version} route add default dev blue table 10".split())
        (found,) = vipctl("status")["findings"]
        assert f"ip {version} rule pref 1000 l3mdev" in found
        assert f"{vip} that arrive by blue" in found
        net.director.ip("link set blue nomaster")
        assert vipctl("status")["findings"] == []
    finally:
        net.director.ip("link del blue", "link del red", "rule del pref 1000")
        net.director.run(["ip", "-6", "rule", "del", "pref", "1000"])
