"""Whatever somebody damages of vipctl's: a cause is named only if packets are lost.

Each damage is looked at with real packets too. What is lost is at least marked as not known.
"""

import json
from importlib import import_module
from ipaddress import ip_address
from types import ModuleType

import pytest

from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.harness.traffic import Outcome, tcp_get
from tests.netns.arrivals import accepted
from tests.netns.damage import fwmark
from tests.netns.damage.cases import CASES
from tests.netns.drift import Drift
from tests.netns.route import BeforeIpvs

OF_STOCK = {"no-ipvs", "no-real-server"}  # this kernel, and a service that stands for acceptance
LEGS = ("source", "acceptance", "routing")
SHORT = 0.3
ASKED = {4: "--from 10.0.0.2 --in eth0", 6: "--from fd00::2 --in eth0"}
# Another prefix of somebody else's has the VIP, too: that is not looked for.
PASSED_OVER = {
    d for d in CASES["fwmark-iptables"].damage if d.startswith("ipset del") and "add" in d
}
PASSED_OVER |= {d for d in fwmark.ALTERED if not d.startswith("ip rule del pref 4301")}
DAMAGE = [(m, d) for m, case in CASES.items() for d in case.damage if d not in PASSED_OVER]


def described(method: str) -> ModuleType:
    return import_module(f"tests.netns.damage.{method.replace('-', '_')}")


def arrived(net: Lab, method: str) -> set[str] | None:
    """The VIPs whose packets come to where IPVS, or the proxy, takes them.

    None if not even those do that are for the director itself.
    """
    vips = described(method).VIPS
    if method == "tproxy":
        replies = {vip: tcp_get(net.client, vip, 80, timeout=SHORT) for vip in vips}
        return {vip for vip, reply in replies.items() if reply.outcome is Outcome.ANSWERED}
    with (BeforeIpvs if method == "route" else LocalInCounter)(net.director) as counter:
        try:
            found = accepted(net, counter, vips)
        except TimeoutError:
            return None
    return {vip for vip, mark in found.items() if mark == vips[vip]}


def told(drift: Drift, vip: str, port: str) -> tuple[set[str], bool]:
    """The causes, and whether anything of the way to IPVS is not well."""
    asked = ASKED[ip_address(vip).version].split()
    report = json.loads(drift.vipctl.text("--json", "explain", vip, port, *asked).stdout)
    doubts = [s for s in report["steps"] if s["name"] in LEGS and s["state"] != "well"]
    return set(report["causes"]) - OF_STOCK, bool(doubts)


@pytest.mark.parametrize(
    ("drift", "method", "damage"),
    [
        pytest.param(CASES[method], method, damage, id=f"{method}-{number}")
        for number, (method, damage) in enumerate(DAMAGE)
    ],
    indirect=["drift"],
)
def test_a_cause_is_named_only_of_what_is_lost(drift: Drift, method: str, damage: str) -> None:
    port = "tcp/80" if method == "tproxy" else "udp/9"
    drift.damage(damage)
    try:
        there = arrived(drift.net, method)
        found = {vip: told(drift, vip, port) for vip in described(method).VIPS}
    finally:
        drift.vipctl("restore")
    if there is None:
        assert any(causes or doubts for causes, doubts in found.values())
        return
    for vip, (causes, doubts) in found.items():
        assert causes == set() if vip in there else causes or doubts, vip
