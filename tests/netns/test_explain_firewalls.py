"""What `explain` says of each firewall is what becomes of packets; of few it says nothing."""

import json

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns.addresses import RANGES, VIPS
from tests.netns.firewalls import FIREWALLS

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


def _said(vipctl: Vipctl, vip: str, client: str) -> str:
    done = vipctl.text("--json", "explain", vip, "tcp/80", f"--from={client}", "--in=eth0")
    (state,) = (
        s["state"] for s in json.loads(done.stdout)["steps"] if s["name"] == "firewall INPUT"
    )
    return str(state)
