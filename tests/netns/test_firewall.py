"""A host's firewall that drops what is not for an address of the host's, as ufw has it."""

import pytest

from tests.harness.command import Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.netns.addresses import OWN, RANGES, VIPS
from tests.netns.arrivals import accepted
from tests.netns.iptables import ByIptables
from tests.netns.route import ByRoute

UFW = """
table ip filter {
    chain ufw-not-local {
        fib daddr type local return
        fib daddr type { broadcast, multicast } return
        counter drop
    }
    chain ufw-before-input {
        jump ufw-not-local
    }
    chain INPUT {
        type filter hook input priority 0;
        jump ufw-before-input
    }
}
"""
METHODS = {"fwmark": Vipctl, "fwmark-iptables": ByIptables, "route": ByRoute}
CURE = "insert rule ip filter ufw-before-input meta mark 17 accept"


@pytest.mark.parametrize("method", METHODS)
def test_ufw_drops_vips_which_is_said(net: Lab, vipctl: Vipctl, method: str) -> None:
    command = METHODS[method](net.director, vipctl.state_dir)
    before = command("add-range", RANGES[0], "--fwmark", "17")["warnings"]
    assert not any("ufw" in text for text in before)
    net.director.run(["nft", "-f", "-"], input=UFW)
    warnings = command("add-range", RANGES[1], "--fwmark", "17")["warnings"]
    assert ["ufw-not-local" in text for text in warnings] == ([] if method == "route" else [True])
    with LocalInCounter(net.director) as counter:
        passing = {OWN[0]: 0, **({VIPS[0]: 17} if method == "route" else {})}
        assert accepted(net, counter, [VIPS[0], OWN[0]]).keys() == passing.keys()
        net.director.run(["nft", CURE])
        assert accepted(net, counter, [VIPS[0], OWN[0]]).keys() == {OWN[0], VIPS[0]}
