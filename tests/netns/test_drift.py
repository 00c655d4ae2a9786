"""Whatever somebody else deletes of vipctl's, the next changing command brings back."""

from collections.abc import Iterator

import pytest

from tests.harness.command import Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab, lab
from tests.netns import snapshot
from tests.netns.arrivals import accepted

VIPS = {"203.0.113.77": 17, "192.0.2.1": 0x1000, "2001:db8:1::77": 17, "198.51.100.9": 18}

# By other tools, behind vipctl's back: nft's words, or ip's, or a sysctl's.
DAMAGE = [
    "nft flush ruleset",
    "nft delete table inet vipctl",
    "nft flush table inet vipctl",
    "nft flush chain inet vipctl prerouting",
    "nft flush chain inet vipctl after_ipvs",
    "nft flush chain inet vipctl still_vip",
    "nft flush chain inet vipctl leftover",
    "nft flush chain inet vipctl check",
    "nft delete chain inet vipctl prerouting",
    "nft delete chain inet vipctl before_ipvs",
    "nft delete chain inet vipctl after_ipvs",
    "nft add rule inet vipctl prerouting accept",
    "nft insert rule inet vipctl leftover accept",
    "nft add chain inet vipctl prerouting { policy drop; }",
    "nft add table inet vipctl { flags dormant; }",
    "nft flush chain inet vipctl prerouting; flush chain inet vipctl still_vip; "
    "delete map inet vipctl v4_24",
    "ip rule del pref 4300",
    "ip rule del pref 4301 fwmark 17",
    "ip rule del pref 4301 fwmark 0x1000/0xfffff080",
    "ip rule del pref 4302",
    "ip rule flush",
    "ip -6 rule del pref 4300",
    "ip -6 rule del pref 4301",
    "ip -6 rule del pref 4302",
    "ip route flush table 30320",
    "ip -6 route flush table 30320",
    "ip link set lo down; link set lo up",
]
# What only a comparison of every prefix sees.
UNSEEN = [
    "nft delete element inet vipctl v4_24 { 203.0.113.0 : 17 }",
    "nft flush map inet vipctl v4_24",
    "nft flush map inet vipctl v6_64",
    "nft add element inet vipctl v4_24 { 192.88.99.0 : 17 }",
    "nft delete element inet vipctl v4_32 { 198.51.100.9 : 18 }; "
    "add element inet vipctl v4_32 { 198.51.100.9 : 17 }",
]


COMMONEST = ["nft flush ruleset", "ip rule del pref 4301 fwmark 17"]


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
    vipctl("add-range", "203.0.113.0/24", "2001:db8:1::/64", "--fwmark", "17", "--ping")
    vipctl("add-range", "198.51.100.9", "--fwmark", "18", "--port", "udp/9")
    vipctl("add-service", "web")
    vipctl("add-range", "192.0.2.0/29", "--service", "web")
    return vipctl


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


@pytest.mark.parametrize("words", COMMONEST)
@pytest.mark.parametrize(
    "command",
    [
        ["add-range", "203.0.113.0/24", "--fwmark", "17"],
        ["remove-range", "192.0.2.64/29"],
        ["restore"],
    ],
    ids=lambda command: command[0],
)
def test_check_reports_and_leaves_it(
    net: Lab, stored: Vipctl, words: str, command: list[str]
) -> None:
    before = snapshot.unordered(net.director)
    _damage(net, words)
    damaged = snapshot.kernel(net.director)
    checked = stored("--check", *command)
    assert (checked["changed"], checked["restored"]) == (True, True)
    assert snapshot.kernel(net.director) == damaged
    assert stored(*command)["changed"] is True
    _assert_whole(net, stored, before)


def _damage(net: Lab, words: str) -> None:
    tool, _, rest = words.partition(" ")
    if tool == "nft":
        net.director.run(["nft", rest])
        return
    option, _, tail = rest.partition(" ") if rest.startswith("-") else ("-4", "", rest)
    for command in tail.split("; "):
        net.director.run(["ip", option, *command.split()])
    if tail == "rule flush":  # of other people's rules too
        net.director.ip("rule add pref 32766 lookup main", "rule add pref 32767 lookup default")


def _assert_whole(net: Lab, vipctl: Vipctl, before: dict[str, list[str]]) -> None:
    assert snapshot.unordered(net.director) == before
    assert vipctl("status")["kernel"] == "as stored"
    with LocalInCounter(net.director) as counter:
        assert accepted(net, counter, [*VIPS, "192.88.99.1"]) == VIPS
