"""Method tproxy: all of it goes with the last service, and comes back when others remove it."""

from collections.abc import Iterator

import pytest

from tests.conformance.servers import WebServer, stand_in
from tests.harness.command import Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.harness.traffic import Outcome, tcp_get
from tests.netns import snapshot
from tests.netns.arrivals import accepted
from tests.netns.drift import Drift

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
    f"nft 'add table {TABLE} {{ flags dormant; }}'",
    "ip rule del pref 4320",
    "ip rule del pref 4321",
    "ip -6 rule del pref 4322",
    "ip -4 route flush table 30322",
    "ip -6 route flush table 30322",
    "ip link set lo down; ip link set lo up",
]
UNSEEN = [
    f"nft flush map {TABLE} v4_24_1024",
    f"nft add element {TABLE} v4_24_1024 {{ 192.88.99.0 : 0x1000 }}",
]


@pytest.fixture(scope="module")
def drift(shared: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drift]:
    """vipctl with two services, and a proxy; they leave nothing."""
    for bind in ("0.0.0.0", "::"):
        stand_in(WebServer(shared.director, bind, 8080, "proxy").socket)
    before = snapshot.kernel(shared.director), snapshot.sysctls(shared.director)
    vipctl = Vipctl(shared.director, tmp_path_factory.mktemp("drift") / "state")
    vipctl("add-range", "203.0.113.0/24", "2001:db8:1::/64", "--service", "web", *PROXY, "--ping")
    vipctl("add-range", "198.51.100.9", "--service", "one", *PROXY, "--port=tcp/80")
    yield Drift(shared, vipctl, _assert_served)
    for name in ("web", "one"):
        assert vipctl("remove-service", name)["changed"] is True
    assert (snapshot.kernel(shared.director), snapshot.sysctls(shared.director)) == before


def _assert_served(net: Lab) -> None:
    assert {tcp_get(net.client, vip, 80).outcome for vip in VIPS} == {Outcome.ANSWERED}


@pytest.mark.parametrize("words", DAMAGE)
def test_the_next_add_range_restores(drift: Drift, words: str) -> None:
    """Even where it adds nothing."""
    drift.assert_next_command_restores(words, *ADD)


@pytest.mark.parametrize("words", UNSEEN)
def test_restore_compares_every_prefix(drift: Drift, words: str) -> None:
    drift.assert_only_restore_sees(words)


def test_the_last_range_of_a_version_takes_its_rules_along(drift: Drift) -> None:
    net, vipctl = drift.net, drift.vipctl
    before = snapshot.kernel(net.director)
    vipctl("remove-range", "2001:db8:1::/64")
    assert "4321" not in snapshot.kernel(net.director)["ip -6 rule"]
    vipctl("add-range", "2001:db8:1::/64", "--service", "web")
    drift.assert_whole(drift.look())
    assert snapshot.kernel(net.director)["ip -6 rule"] == before["ip -6 rule"]


def test_beside_another_method(drift: Drift) -> None:
    """Each has its own VIPs, rules and table, and leaves the other's alone."""
    net, vipctl = drift.net, drift.vipctl
    before = snapshot.kernel(net.director)
    own = {method: f"192.0.2.{at}" for at, method in enumerate(("fwmark", "route"), 1)}
    for mark, (method, vip) in enumerate(own.items(), 17):
        vipctl("add-range", vip, "--fwmark", str(mark), "--method", method)
    drift.assert_served(net)
    with LocalInCounter(net.director) as counter:
        assert set(accepted(net, counter, own.values())) == {*own.values()}
    vipctl("remove-range", *own.values())
    assert snapshot.kernel(net.director) == before
