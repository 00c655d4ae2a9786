"""What `explain` says of each firewall is what becomes of packets; of few it says nothing."""

import json

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import tcp_get
from tests.netns.addresses import RANGES, VIPS
from tests.netns.firewalls import FIREWALLS
from tests.netns.route import BeforeIpvs

SAID = {"well": True, "cause": False}
UNCLEAR = {"a set of others'", "some clients", "not tracked"}  # what is in a set; untracked or new


def test_what_is_said_is_what_happens(net: Lab, vipctl: Vipctl) -> None:
    """Firewalls of the table are tried with packets in test_firewall.py."""
    vipctl("add-range", *RANGES, "--fwmark", "17")
    wrong, unclear = [], set()
    for name, firewall in FIREWALLS.items():
        firewall.load(net.director)
        for vip, client in zip(VIPS, ("10.0.0.2", "fd00::2"), strict=True):
            state = _said(vipctl, vip, client)
            unclear |= {name} if state == "unknown" else set()
            if SAID.get(state, firewall.passes) is not firewall.passes:
                wrong.append((name, vip, state))
        firewall.clear(net.director)
    assert wrong == []
    assert unclear <= UNCLEAR


@pytest.mark.parametrize(("name", "found"), [("iptables-legacy, ports", True), ("the port", False)])
def test_neighbour_discovery_that_is_dropped(
    net: Lab, vipctl: Vipctl, name: str, found: bool
) -> None:
    """A client that does not know the director's link-layer address yet does not find it."""
    vipctl("add-range", *RANGES, "--fwmark", "17")
    FIREWALLS[name].load(net.director)
    net.client.run(["ip", "-6", "neighbour", "flush", "all"])
    with BeforeIpvs(net.director) as counter:
        tcp_get(net.client, VIPS[1], 80, timeout=0.3)
        assert counter.count(17, VIPS[1]) == (0 if found else 1)
    done = vipctl.text("--json", "explain", VIPS[1], "tcp/80", "--from=fd00::2", "--in=eth0")
    told = [s for s in json.loads(done.stdout)["steps"] if s["name"] == "firewall neighbours"]
    assert [s["state"] for s in told] == (["unknown"] if found else [])


def _said(vipctl: Vipctl, vip: str, client: str) -> str:
    done = vipctl.text("--json", "explain", vip, "tcp/80", f"--from={client}", "--in=eth0")
    (state,) = (
        s["state"] for s in json.loads(done.stdout)["steps"] if s["name"] == "firewall INPUT"
    )
    return str(state)
