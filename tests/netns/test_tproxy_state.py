"""Method tproxy beside other methods, and as its ranges come and go."""

from pathlib import Path

import pytest

from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.netns import snapshot
from tests.netns.arrivals import accepted
from tests.netns.damage import tproxy
from tests.netns.drift import Drift

alone = pytest.mark.parametrize("drift", [tproxy.CASE], indirect=True, scope="module")


def test_it_leaves_nothing(net: Lab, tmp_path: Path) -> None:
    before = snapshot.kernel(net.director), snapshot.sysctls(net.director)
    vipctl = tproxy.director(net, tmp_path / "state").vipctl
    for name in ("web", "one"):
        assert vipctl("remove-service", name)["changed"] is True
    assert (snapshot.kernel(net.director), snapshot.sysctls(net.director)) == before


@alone
def test_the_last_range_of_a_version_takes_its_rules_along(drift: Drift) -> None:
    net, vipctl = drift.net, drift.vipctl
    before = snapshot.kernel(net.director)
    vipctl("remove-range", "2001:db8:1::/64")
    assert "4321" not in snapshot.kernel(net.director)["ip -6 rule"]
    vipctl("add-range", "2001:db8:1::/64", "--service", "web")
    drift.assert_whole(drift.look())
    assert snapshot.kernel(net.director)["ip -6 rule"] == before["ip -6 rule"]


@alone
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
