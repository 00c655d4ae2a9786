"""Chains of others that are sure to drop packets for VIPs are named, and no others."""

import pytest

from tests.harness.command import Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.harness.traffic import tcp_get
from tests.netns.addresses import RANGES, VIPS
from tests.netns.firewalls import FIREWALLS, UFW, Firewall
from tests.netns.iptables import ByIptables
from tests.netns.route import ByRoute

METHODS = {"fwmark": Vipctl, "fwmark-iptables": ByIptables, "route": ByRoute}
SHORT = 0.05
# By other methods than fwmark: what depends on where marks come from, and on what is local.
SOME = "the usual", "a mark", "the range", "firewalld", "ufw", "iptables-legacy, not local"
MANY = "table inet mine {{ chain in {{ type filter hook input priority 0; policy drop;\n{}\n}}\n}}"


@pytest.fixture(params=METHODS)
def director(request: pytest.FixtureRequest, net: Lab, vipctl: Vipctl) -> Vipctl:
    """With VIPs of mark 17."""
    command: Vipctl = METHODS[request.param](net.director, vipctl.state_dir)
    command("add-range", *RANGES, "--fwmark", "17", "--leftover", "drop")
    return command


def named(vipctl: Vipctl) -> list[str]:
    """What `status` says of chains."""
    return [text for text in vipctl("status")["findings"] if text.startswith("chain ")]


def arrived(net: Lab, counter: LocalInCounter) -> set[bool]:
    """Whether a SYN for each VIP comes to where IPVS would be."""
    counter.reset()
    for vip in VIPS:
        tcp_get(net.client, vip, 80, timeout=SHORT)
    seen = {dst for _, dst in counter.counts()}
    return {vip in seen for vip in VIPS}


def test_what_drops_packets_is_named(net: Lab, director: Vipctl) -> None:
    """By `route` they have no mark yet, and are for an address of the director."""
    wrong = []
    chosen = SOME if isinstance(director, (ByIptables, ByRoute)) else FIREWALLS
    assert named(director) == []
    with LocalInCounter(net.director) as counter:
        for name in chosen:
            firewall = FIREWALLS[name]
            firewall.load(net.director)
            passes, texts = arrived(net, counter), named(director)
            firewall.clear(net.director)
            if not right(firewall, passes, texts):
                wrong.append((name, passes, texts))
            if not isinstance(director, ByRoute):
                assert passes == {firewall.passes}, name
    assert not wrong
    assert named(director) == []


def right(firewall: Firewall, passes: set[bool], texts: list[str]) -> bool:
    """What passes is not named; what does not is, with the chain, where that can be told."""
    if passes == {True} or firewall.place is None:
        return texts == []
    return bool(texts) and all(not firewall.place or firewall.place in text for text in texts)


def test_the_next_change_names_it_and_its_cure_helps(net: Lab, director: Vipctl) -> None:
    cure = ["meta mark 0x11 accept"]
    if isinstance(director, ByRoute):
        addresses = (*RANGES, "198.51.100.7")
        cure = [f"{'ip' if '.' in vip else 'ip6'} daddr {vip} accept" for vip in addresses]
    FIREWALLS["firewalld"].load(net.director)
    (text,) = director("add-range", "198.51.100.7", "--fwmark", "17")["warnings"][-1:]
    assert "inet firewalld filter_INPUT (in filter_IN_public) drops packets for VIPs" in text
    with LocalInCounter(net.director) as counter:
        assert arrived(net, counter) == {False}
        assert ("insert rule inet firewalld filter_INPUT " + cure[0][:4]) in text
        for rule in cure:
            net.director.run(["nft", f"insert rule inet firewalld filter_INPUT {rule}"])
        assert arrived(net, counter) == {True}
    assert named(director) == []


def test_ufw_has_a_place_of_its_own_for_it(net: Lab, vipctl: Vipctl) -> None:
    net.director.run(["nft", "-f", "-"], input=UFW % ("", ""))
    (text,) = vipctl("add-range", *RANGES, "--fwmark", "17")["warnings"]
    assert "-A ufw-before-input -m mark --mark 0x11 -j ACCEPT" in text


def test_a_firewall_of_any_size_costs_the_same_and_is_not_judged(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    rules = "\n".join(f"ip saddr 192.0.2.{n % 250} tcp dport {n} accept" for n in range(1, 20000))
    net.director.run(["nft", "-f", "-"], input=MANY.format(rules))
    assert named(vipctl) == []
    rules = "\n".join(f"ip6 saddr 2001:db8::{n:x} drop" for n in range(1, 200))
    net.director.run(["nft", "-f", "-"], input="flush ruleset\n" + MANY.format(rules))
    assert len(named(vipctl)) == 1


def test_hooks_of_devices_are_nobodys_business(net: Lab, vipctl: Vipctl) -> None:
    hook = 'type filter hook ingress device "eth0" priority 0; policy accept;'
    tables = (f"table {family} t {{\nchain c {{ {hook} }}\n}}" for family in ("inet", "netdev"))
    net.director.run(["nft", "-f", "-"], input="\n".join(tables))
    assert vipctl("add-range", *RANGES, "--fwmark", "17")["warnings"] == []


def test_without_ipv6_nothing_is_said_of_it(net: Lab, director: Vipctl) -> None:
    FIREWALLS["firewalld"].load(net.director)
    net.director.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
    (text,) = named(director)
    assert "packets for VIPs of service 'fwmark-17'" in text
