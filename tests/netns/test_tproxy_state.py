"""Method tproxy: all of it goes with the last service, and comes back when others remove it."""

from collections.abc import Iterator

import pytest

from tests.conformance.servers import WebServer, stand_in
from tests.harness.command import Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab, lab
from tests.harness.traffic import Outcome, tcp_get
from tests.netns import snapshot
from tests.netns.arrivals import accepted

VIPS = ("203.0.113.77", "198.51.100.9", "2001:db8:1::77")
PROXY = ("--method", "tproxy", "--to-port", "8080")
TABLE = "inet vipctl_tproxy"
ADD = ("add-range", "203.0.113.0/24", "--service", "web")

# By other tools, behind vipctl's back.
DAMAGE = [
    "nft flush ruleset",
    f"nft delete table {TABLE}",
    f"nft flush chain {TABLE} prerouting",
    f"nft flush chain {TABLE} proxied",
    f"nft flush chain {TABLE} still_vip",
    f"nft flush chain {TABLE} leftover",
    f"nft delete chain {TABLE} ping",
    f"nft insert rule {TABLE} proxied accept",
    f"nft add table {TABLE} {{ flags dormant; }}",
    "ip rule del pref 4320",
    "ip rule del pref 4321",
    "ip -6 rule del pref 4322",
    "ip route flush table 30322",
    "ip -6 route flush table 30322",
    "ip link set lo down; link set lo up",
]
UNSEEN = [
    f"nft flush map {TABLE} v4_24",
    f"nft add element {TABLE} v4_24 {{ 192.88.99.0 : 0x1000 }}",
]


@pytest.fixture(scope="module")
def net() -> Iterator[Lab]:
    """One director for all: each test leaves it whole."""
    with lab(reals=0) as built:
        snapshot.settle(built.director)
        for bind in ("0.0.0.0", "::"):
            stand_in(WebServer(built.director, bind, 8080, "proxy").socket)
        yield built


@pytest.fixture(scope="module")
def stored(net: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vipctl]:
    """vipctl with two services; they leave nothing."""
    before = snapshot.kernel(net.director), snapshot.sysctls(net.director)
    vipctl = Vipctl(net.director, tmp_path_factory.mktemp("drift") / "state")
    vipctl("add-range", "203.0.113.0/24", "2001:db8:1::/64", "--service", "web", *PROXY, "--ping")
    vipctl("add-range", "198.51.100.9", "--service", "one", *PROXY, "--port=tcp/80")
    yield vipctl
    for name in ("web", "one"):
        assert vipctl("remove-service", name)["changed"] is True
    assert (snapshot.kernel(net.director), snapshot.sysctls(net.director)) == before


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
    assert {tcp_get(net.client, vip, 80).outcome for vip in VIPS} == {Outcome.ANSWERED}


@pytest.mark.parametrize("words", DAMAGE)
def test_the_next_add_range_restores(net: Lab, stored: Vipctl, words: str) -> None:
    """Even where it adds nothing."""
    before = snapshot.unordered(net.director)
    _damage(net, words)
    assert stored("status")["kernel"] == "differs"
    done = stored(*ADD)
    assert (done["changed"], done["restored"]) == (True, True)
    _assert_whole(net, stored, before)


@pytest.mark.parametrize("words", UNSEEN)
def test_restore_compares_every_prefix(net: Lab, stored: Vipctl, words: str) -> None:
    before = snapshot.unordered(net.director)
    _damage(net, words)
    assert stored("restore")["changed"] is True
    assert stored("restore")["changed"] is False
    _assert_whole(net, stored, before)


def test_the_last_range_of_a_version_takes_its_rules_along(net: Lab, stored: Vipctl) -> None:
    before = snapshot.kernel(net.director)
    stored("remove-range", "2001:db8:1::/64")
    assert "4321" not in snapshot.kernel(net.director)["ip -6 rule"]
    stored("add-range", "2001:db8:1::/64", "--service", "web")
    _assert_whole(net, stored, snapshot.unordered(net.director))
    assert snapshot.kernel(net.director)["ip -6 rule"] == before["ip -6 rule"]


def test_beside_another_method(net: Lab, stored: Vipctl) -> None:
    """Each has its own VIPs, rules and table, and leaves the other's alone."""
    before = snapshot.kernel(net.director)
    own = {method: f"192.0.2.{at}" for at, method in enumerate(("fwmark", "route"), 1)}
    for mark, (method, vip) in enumerate(own.items(), 17):
        stored("add-range", vip, "--fwmark", str(mark), "--method", method)
    assert {tcp_get(net.client, vip, 80).outcome for vip in VIPS} == {Outcome.ANSWERED}
    with LocalInCounter(net.director) as counter:
        assert set(accepted(net, counter, own.values())) == {*own.values()}
    stored("remove-range", *own.values())
    assert snapshot.kernel(net.director) == before
