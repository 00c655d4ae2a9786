"""A VRF: its rule comes before vipctl's, and has no table of its own."""

from tests.harness.command import Vipctl
from tests.harness.lab import Lab

VIPS = {"-4": "203.0.113.7", "-6": "2001:db8:1::7"}


def test_a_vrf_that_clients_come_by_is_named(net: Lab, vipctl: Vipctl) -> None:
    assert vipctl("add-range", *VIPS.values(), "--fwmark", "17")["warnings"] == []
    net.director.run(["modprobe", "vrf"])
    net.director.ip("link add red type vrf table 10", "link add blue type dummy", "link set red up")
    try:
        net.director.ip("link set blue master red", "link set blue up")
        for version in VIPS:
            net.director.run(f"ip {version} route add default dev blue table 10".split())
        found = dict(zip(VIPS, vipctl("status")["findings"], strict=True))
        for version, vip in VIPS.items():
            assert f"ip {version} rule pref 1000 l3mdev" in found[version]
            assert f"{vip} that arrive by blue" in found[version]
        net.director.ip("link set blue nomaster")
        assert vipctl("status")["findings"] == []
    finally:
        net.director.ip("link del blue", "link del red", "rule del pref 1000")
        net.director.run(["ip", "-6", "rule", "del", "pref", "1000"])
