"""Of `fwmark-iptables`: legacy tables, ipsets, rules and routes."""

from pathlib import Path

from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.netns import snapshot
from tests.netns.arrivals import accepted
from tests.netns.drift import Case, Drift
from tests.netns.iptables import ByIptables, saved

VIPS = {"203.0.113.77": 17, "2001:db8:1::77": 17, "198.51.100.9": 18, "198.51.100.10": 18}

# By other tools, behind vipctl's back: a shell's words.
DAMAGE = [
    "iptables-legacy -w -t mangle -F",
    "iptables-legacy -w -t mangle -F VIPCTL",
    "iptables-legacy -w -t mangle -F PREROUTING",
    "iptables-legacy -w -t mangle -D VIPCTL 1",
    "iptables-legacy -w -t mangle -D VIPCTL 2",
    "iptables-legacy -w -t mangle -I VIPCTL -j ACCEPT",
    "iptables-legacy -w -t mangle -I VIPCTL -s 10.0.0.3 -j RETURN",
    "iptables-legacy -w -t mangle -A PREROUTING -j VIPCTL",
    "iptables-legacy -w -t mangle -F VIPCTL-PORTS",
    "iptables-legacy -w -t mangle -D INPUT -j VIPCTL-PORTS",
    "iptables-legacy -w -t mangle -N VIPCTL-OTHER",
    "iptables-legacy -w -t nat -F; iptables-legacy -w -t nat -X",
    "iptables-legacy -w -F INPUT",
    "iptables-legacy -w -F VIPCTL-REFUSE",
    "iptables-legacy -w -D VIPCTL-CHECK 1",
    "iptables-legacy -w -R VIPCTL-REFUSE 1 -p udp -j DROP",
    "iptables-legacy -w -R VIPCTL 1 -p icmp -i eth0 -m icmp --icmp-type 3 -j RETURN",
    "iptables-legacy -w -F VIPCTL; iptables-legacy -w -A VIPCTL -g VIPCTL-CHECK",
    "iptables-legacy-restore -w </dev/null; iptables-legacy -w -F; iptables-legacy -w -X",
    "ip6tables-legacy -w -t mangle -F",
    "ip6tables-legacy -w -F; ip6tables-legacy -w -X",
    "ip6tables-legacy -w -t nat -F VIPCTL",
    "ipset flush",
    "ipset flush vipctl6",
    "ipset flush vipctl4_p1",
    "ipset del vipctl4 203.0.113.0/24",
    "ipset del vipctl4 203.0.113.0/24; ipset add vipctl4 203.0.113.0/25 skbmark 0x11",
    "ipset create vipctl4_p9 hash:ip",
    "ipset create vipctl6_new hash:net family inet6",
    "iptables-legacy -w -t mangle -F; iptables-legacy -w -F; ipset destroy vipctl4",
    "iptables-legacy -w -t mangle -F; iptables-legacy -w -F; ipset destroy vipctl4; "
    "ipset create vipctl4 hash:ip; ipset add vipctl4 203.0.113.77",
    "ipset create other hash:net maxelem 16777216 skbinfo; ipset swap other vipctl4; "
    "ipset destroy other",
    "ip rule del pref 4311 fwmark 17",
    "ip rule del pref 4310 fwmark 17",
    "ip -6 rule del pref 4312",
    "ip route flush table 30321",
    "ip -6 route flush table 30321",
]
# What only a comparison of every prefix sees.
UNSEEN = [
    "ipset add vipctl4 192.88.99.0/24 skbmark 0x11",
    "ipset -exist add vipctl4 203.0.113.0/24 skbmark 0x12",
    "ipset -exist add vipctl6 2001:db8:1::/64 skbmark 0x11 skbprio 1:1",
    "ipset del vipctl4 198.51.100.15",
]
COMMONEST = [DAMAGE[0], "ipset flush"]


def director(net: Lab, state: Path) -> Drift:
    """vipctl with services of every kind that this kernel has."""
    vipctl = ByIptables(net.director, state)
    vipctl("add-range", "203.0.113.0/24", "2001:db8:1::/64", "--fwmark", "17", "--ping")
    vipctl("add-range", "198.51.100.8/30", "--fwmark", "18", "--port", "udp/9")
    split = [f"198.51.100.{n}" for n in (1, 10, 15, 20)]  # the second shares: another set has it
    vipctl("add-range", *split, "--fwmark", "19", "--port", "tcp/9", "--port", "udp/10")
    vipctl("add-service", "web")
    vipctl("add-range", "192.0.2.0/29", "--service", "web")
    return Drift(net, vipctl, _assert_served, _everything)


def _assert_served(net: Lab) -> None:
    with LocalInCounter(net.director) as counter:
        got = accepted(net, counter, [*VIPS, "192.88.99.1", "198.51.100.11"])
    assert got == VIPS | {"198.51.100.11": 18}


def _everything(director: Namespace) -> tuple[list[str], dict[str, list[str]]]:
    """All but what differs from set to set and from time to time, in any order of sets."""
    lines = saved(director).splitlines()
    words = [
        line.partition("initval")[0].strip()
        for line in lines
        if not line.startswith("#") and not line.startswith(":")
    ]
    return sorted(words), snapshot.unordered(director)


CASE = Case(director, DAMAGE, UNSEEN, COMMONEST)
