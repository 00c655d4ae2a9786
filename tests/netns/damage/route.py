"""Of `route`: local routes and nftables' tables."""

from pathlib import Path

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns.arrivals import accepted
from tests.netns.drift import Case, Drift
from tests.netns.route import ROUTE, BeforeIpvs

VIPS = {"203.0.113.77": 17, "192.0.2.1": 0x1000, "2001:db8:1::77": 17, "198.51.100.9": 18}

# By other tools, behind vipctl's back: a shell's words.
DAMAGE = [
    "nft flush ruleset",
    "nft delete table inet vipctl_route",
    "nft delete table arp vipctl_route",
    "nft flush table inet vipctl_route",
    "nft flush chain inet vipctl_route marking",
    "nft delete chain inet vipctl_route marking",
    "nft flush chain inet vipctl_route still_vip",
    "nft delete chain inet vipctl_route after_ipvs",
    "nft delete chain inet vipctl_route before_ipvs",
    "nft insert rule inet vipctl_route leftover accept",
    "nft flush chain arp vipctl_route requests",
    "nft delete chain arp vipctl_route requests",
    "nft 'add table inet vipctl_route { flags dormant; }'",
    "ip -4 route flush table local proto 118",
    "ip -6 route flush table local proto 118",
    "ip link set lo down; ip link set lo up",
    "ip route del local 203.0.113.0/24 dev lo table local",
    "ip -6 route del local 2001:db8:1::/64 dev lo table local",
    "ip route replace blackhole 203.0.113.0/24 table local proto 118 metric 30320",
    "ip route replace unreachable 203.0.113.0/24 table local metric 30320",
    "ip -6 route replace blackhole 2001:db8:1::/64 table local proto 118 metric 30320",
]
# What only a comparison of every prefix sees.
UNSEEN = [
    "ip route del local 203.0.112.0/26 dev lo table local",
    "ip -6 route del local 2001:db8:1:8::/64 dev lo table local",
    "ip route replace blackhole 203.0.112.0/26 table local proto 118 metric 30320",
    "ip route replace local 203.0.112.0/26 dev eth1 table local proto 118 metric 30320",
    "ip -6 route replace blackhole 2001:db8:1:8::/64 table local proto 118 metric 30320",
    "ip route add local 192.88.99.1 dev lo table local proto 118 metric 30320",
    "nft delete element inet vipctl_route v4_24_1024 { 203.0.113.0 : 17 }",
    "nft delete element arp vipctl_route v4_24_1024 { 203.0.113.0 : 17 }",
    "nft flush map inet vipctl_route v6_64_1024",
]
COMMONEST = ["nft flush ruleset", "ip -4 route flush table local proto 118"]


def director(net: Lab, state: Path) -> Drift:
    """vipctl with services of every kind that this kernel has."""
    vipctl = Vipctl(net.director, state)
    ranges = ["203.0.111.0/24", "203.0.112.0/26", "203.0.113.0/24"]
    ranges += ["2001:db8:1::/64", "2001:db8:1:8::/64", "2001:db8:1:a::/64"]
    vipctl("add-range", *ranges, "--fwmark", "17", "--ping", *ROUTE)
    vipctl("add-range", "198.51.100.9", "--fwmark", "18", "--port", "udp/9", "--arp", *ROUTE)
    vipctl("add-service", "web", "--fwmark", "0x1001", *ROUTE)
    vipctl("add-range", "192.0.2.128/29", "--service", "web")
    vipctl("add-range", "192.0.2.0/29", "--fwmark", str(0x1000), *ROUTE)
    return Drift(net, vipctl, _assert_served)


def _assert_served(net: Lab) -> None:
    with BeforeIpvs(net.director) as counter:
        assert accepted(net, counter, [*VIPS, "192.88.99.1"]) == VIPS


CASE = Case(director, DAMAGE, UNSEEN, COMMONEST)
