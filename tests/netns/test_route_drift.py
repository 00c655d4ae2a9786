"""The `route` method when others delete what is ours."""

from collections.abc import Iterator

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab, lab
from tests.netns import snapshot
from tests.netns.arrivals import accepted
from tests.netns.test_route import ROUTE, BeforeIpvs

VIPS = {"203.0.113.77": 17, "192.0.2.1": 0x1000, "2001:db8:1::77": 17, "198.51.100.9": 18}

# By other tools, behind vipctl's back: nft's words, or ip's.
DAMAGE = [
    "nft flush ruleset",
    "nft delete table inet vipctl_route",
    "nft delete table arp vipctl_route",
    "nft flush table inet vipctl_route",
    "nft flush chain inet vipctl_route marking",
    "nft delete chain inet vipctl_route marking",
    "nft flush chain inet vipctl_route still_vip",
    "nft delete chain inet vipctl_route after_ipvs",
    "nft delete chain inet vipctl_route before_ipvs",
    "nft insert rule inet vipctl_route leftover accept",
    "nft flush chain arp vipctl_route requests",
    "nft delete chain arp vipctl_route requests",
    "nft add table inet vipctl_route { flags dormant; }",
    "ip route flush table local proto 118",
    "ip -6 route flush table local proto 118",
    "ip link set lo down; link set lo up",
    "ip route del local 203.0.113.0/24 dev lo table local",
    "ip -6 route del local 2001:db8:1::/64 dev lo table local",
]
# What only a comparison of every prefix sees.
UNSEEN = [
    "ip route del local 203.0.112.0/26 dev lo table local",
    "ip -6 route del local 2001:db8:1:8::/64 dev lo table local",
    "ip route add local 192.88.99.1 dev lo table local proto 118 metric 30320",
    "nft delete element inet vipctl_route v4_24 { 203.0.113.0 : 17 }",
    "nft delete element arp vipctl_route v4_24 { 203.0.113.0 : 17 }",
    "nft flush map inet vipctl_route v6_64",
]
COMMONEST = ["nft flush ruleset", "ip route flush table local proto 118"]


@pytest.fixture(scope="module")
def net() -> Iterator[Lab]:
    """One director for all: each test leaves it whole."""
    with lab(reals=0) as built:
        snapshot.settle(built.director)
        yield built


@pytest.fixture(scope="module")
def stored(net: Lab, tmp_path_factory: pytest.TempPathFactory) -> Vipctl:
    """vipctl with services of every kind that this kernel has."""
    vipctl = Vipctl(net.director, tmp_path_factory.mktemp("drift") / "state")
    ranges = ["203.0.111.0/24", "203.0.112.0/26", "203.0.113.0/24"]
    ranges += ["2001:db8:1::/64", "2001:db8:1:8::/64", "2001:db8:1:a::/64"]
    vipctl("add-range", *ranges, "--fwmark", "17", "--ping", *ROUTE)
    vipctl("add-range", "198.51.100.9", "--fwmark", "18", "--port", "udp/9", "--arp", *ROUTE)
    vipctl("add-service", "web", "--fwmark", "0x1001", *ROUTE)
    vipctl("add-range", "192.0.2.128/29", "--service", "web")
    vipctl("add-range", "192.0.2.0/29", "--fwmark", str(0x1000), *ROUTE)
    return vipctl


def _damage(net: Lab, words: str) -> None:
    tool, _, rest = words.partition(" ")
    if tool == "nft":
        net.director.run(["nft", rest])
        return
    option, _, tail = rest.partition(" ") if rest.startswith("-") else ("-4", "", rest)
    for command in tail.split("; "):
        net.director.run(["ip", option, *command.split()])


def _assert_whole(net: Lab, vipctl: Vipctl, before: dict[str, list[str]]) -> None:
    assert snapshot.unordered(net.director) == before
    assert vipctl("status")["kernel"] == "as stored"
    with BeforeIpvs(net.director) as counter:
        assert accepted(net, counter, [*VIPS, "192.88.99.1"]) == VIPS


@pytest.mark.parametrize("words", DAMAGE)
def test_the_next_add_range_restores(net: Lab, stored: Vipctl, words: str) -> None:
    """Even where it adds nothing."""
    before = snapshot.unordered(net.director)
    _damage(net, words)
    assert stored("status")["kernel"] == "differs"
    done = stored("add-range", "203.0.113.0/24", "--fwmark", "17")
    assert (done["changed"], done["restored"]) == (True, True)
    _assert_whole(net, stored, before)


@pytest.mark.parametrize("words", UNSEEN + COMMONEST)
def test_restore_compares_every_prefix(net: Lab, stored: Vipctl, words: str) -> None:
    before = snapshot.unordered(net.director)
    _damage(net, words)
    assert stored("--check", "restore")["changed"] is True
    assert stored("restore")["changed"] is True
    assert stored("restore")["changed"] is False
    _assert_whole(net, stored, before)


def test_other_commands_restore_too(net: Lab, stored: Vipctl) -> None:
    before = snapshot.unordered(net.director)
    for words in (["remove-range", "192.0.2.64/29"], ["set-service", "fwmark-17", "--ping"]):
        _damage(net, COMMONEST[1])
        assert stored("--check", *words)["restored"] is True
        assert stored(*words)["restored"] is True
        _assert_whole(net, stored, before)


def test_lo_is_down(net: Lab, stored: Vipctl) -> None:
    """IPv6 routes cannot be had then, not even the way back; all is there when it is up again."""
    before, exported = snapshot.unordered(net.director), stored("export")
    net.director.ip("link set lo down")
    for _ in range(2):
        words = ["add-range", "198.18.0.0/24", "2001:db8:2::/64", "--fwmark", "17"]
        code, error = stored.error(*words)
        assert (code, error["kind"]) == (4, "kernel")
        assert "Network is down" in error["message"]
        assert "lo" in error["hint"]
        assert stored("export") == exported
    net.director.ip("link set lo up")
    assert stored("add-range", "203.0.113.0/24", "--fwmark", "17")["restored"] is True
    _assert_whole(net, stored, before)
