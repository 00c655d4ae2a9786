"""Addresses of the director that come to lie in VIP ranges later are named."""

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab

WORDS = ["add-range", "203.0.113.0/24", "2001:db8:1::/64", "--fwmark", "17"]


@pytest.fixture
def serving(vipctl: Vipctl) -> Vipctl:
    assert vipctl(*WORDS)["warnings"] == []
    vipctl("add-range", "198.51.100.7", "--fwmark", "18")
    assert vipctl("status")["findings"] == []
    return vipctl


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("203.0.113.0", "203.0.113.0"),
        ("203.0.113.255/24", "203.0.113.255"),
        ("10.9.0.1 peer 203.0.113.9", ""),  # the other end's
        ("203.0.113.9 peer 10.9.0.1", "203.0.113.9"),
        ("203.0.112.255", ""),
        ("203.0.114.0", ""),
        ("2001:db8:1::5/64 nodad", "2001:db8:1::5"),
        ("2001:db8:1:1::5/64 nodad", ""),
    ],
)
def test_an_own_address_in_a_range(net: Lab, serving: Vipctl, address: str, name: str) -> None:
    net.director.ip(f"addr add {address} dev eth1")
    told = [
        serving("status")["findings"],
        serving("--check", *WORDS)["warnings"],
        serving(*WORDS)["warnings"],
    ]
    if not name:
        assert told == [[], [], []]
        return
    for found in told:
        (words,) = found
        assert words.startswith(f"{name}, an address of this director, is a VIP of service")
        assert f"vipctl remove-range {name} --service fwmark-17" in words
    assert name in serving.text("status").stdout
    assert f"warning: {name}" in serving.text(*WORDS).stderr
    serving("remove-range", name, "--service", "fwmark-17")
    assert serving("status")["findings"] == []


def test_many_are_counted(net: Lab, serving: Vipctl) -> None:
    net.director.ip(*(f"addr add 203.0.113.{n}/32 dev lo" for n in range(100)))
    net.director.ip("addr add 198.51.100.7/32 dev lo")
    many, one = serving("status")["findings"]
    assert many.startswith("203.0.113.0 and 99 more, addresses of this director, are VIPs of")
    assert one.startswith("198.51.100.7, an address")
