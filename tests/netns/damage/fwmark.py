"""Of `fwmark`: nftables' table, rules and routes."""

from pathlib import Path

from tests.harness.command import Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.netns.arrivals import accepted
from tests.netns.drift import Case, Drift

VIPS = {"203.0.113.77": 17, "192.0.2.1": 0x1000, "2001:db8:1::77": 17, "198.51.100.9": 18}

# What has the names of ours, and as many rules, but is something else.
PREROUTING = (
    "add chain inet vipctl prerouting {{ type filter hook {} priority {}; policy accept; }}"
)
REMADE = [
    "nft 'flush table inet vipctl; "
    "delete map inet vipctl v4_24_1024; add map inet vipctl v4_24_1024 { type ipv6_addr : mark; }'",
    "nft 'flush table inet vipctl; delete map inet vipctl v6_64_1024; "
    "add set inet vipctl v6_64_1024 { type ipv4_addr . inet_service; flags interval; }'",
    *(
        f"nft 'delete chain inet vipctl prerouting; {PREROUTING.format(*where)}; "
        + 4 * "add rule inet vipctl prerouting accept; "
        + "'"
        for where in (("prerouting", -50), ("input", -140))
    ),
    "nft 'delete chain inet vipctl after_ipvs; "
    "add chain inet vipctl after_ipvs { type filter hook output priority 100; }; "
    "add rule inet vipctl after_ipvs jump still_vip'",
    "nft replace rule inet vipctl leftover handle "
    "$(nft -a list chain inet vipctl leftover | sed -n '/tcp/s/.*handle //p') accept",
    'was=$(nft list table inet vipctl); nft delete table inet vipctl; echo "$was" | nft -f -',
    "nft 'add counter inet vipctl foreign'",
    "nft 'add set inet vipctl foreign { type mark; }'",
    "nft 'add chain inet vipctl foreign'",
]

# By other tools, behind vipctl's back: a shell's words.
DAMAGE = [
    "nft flush ruleset",
    "nft delete table inet vipctl",
    "nft flush table inet vipctl",
    "nft flush chain inet vipctl prerouting",
    "nft flush chain inet vipctl after_ipvs",
    "nft flush chain inet vipctl still_vip",
    "nft flush chain inet vipctl leftover",
    "nft flush chain inet vipctl ports",
    "nft flush chain inet vipctl local_out",
    "nft delete chain inet vipctl prerouting",
    "nft delete chain inet vipctl before_ipvs",
    "nft delete chain inet vipctl after_ipvs",
    "nft add rule inet vipctl prerouting accept",
    "nft insert rule inet vipctl leftover accept",
    "nft 'add chain inet vipctl prerouting { policy drop; }'",
    "nft 'add table inet vipctl { flags dormant; }'",
    "nft 'flush chain inet vipctl prerouting; flush chain inet vipctl still_vip; "
    "flush chain inet vipctl ping; flush chain inet vipctl ports; "
    "flush chain inet vipctl local_out; delete map inet vipctl v4_24_1024'",
    *REMADE,
    "ip rule del pref 4300",
    "ip rule del pref 4301 fwmark 17",
    "ip rule del pref 4301 fwmark 0x1000/0xfffff080",
    "ip rule del pref 4302",
    "ip -4 rule flush; "  # of other people's rules too
    "ip rule add pref 32766 lookup main; ip rule add pref 32767 lookup default",
    "ip -6 rule del pref 4300",
    "ip -6 rule del pref 4301",
    "ip -6 rule del pref 4302",
    "ip -4 route flush table 30320",
    "ip -6 route flush table 30320",
    "ip link set lo down; ip link set lo up",
]
# A rule of ours, but for one thing; or that beside it, which the kernel takes for another rule.
OURS = "pref 4301 fwmark 17 lookup 30320 protocol 118"
ADDED = [
    "from 10.9.0.0/16",
    "to 10.9.0.0/16",
    "iif eth0",
    "oif eth0",
    "tos 0x10",
    "uidrange 5-9",
    "ipproto udp",
    "sport 9",
    "suppress_prefixlength 0",
    "suppress_ifgroup 7",
]
ALTERED = [
    *(f"ip rule del {OURS}; ip rule add {more} {OURS}" for more in ("not", *ADDED)),
    *(f"ip rule add {more} {OURS}" for more in ADDED),
    f"ip rule add not from 10.9.0.0/16 {OURS}; ip rule add from 10.8.0.0/16 {OURS}",
    f"ip -6 rule del {OURS}; ip -6 rule add not {OURS}",
    f"ip -6 rule add from 2001:db8:9::/48 {OURS}",
    "ip rule del pref 4300 fwmark 17; "
    "ip rule add not pref 4300 fwmark 17 iif lo goto 4302 protocol 118",
    "ip rule add pref 4301 lookup 30320 protocol 118",
    "ip rule add pref 4301 fwmark 0/0xffffffff lookup 30320 protocol 118",
    "ip rule add pref 4301 fwmark 17 iif eth0 lookup 30320 protocol 118",
    "ip rule add pref 4301 fwmark 17 lookup 99 protocol 118",
    "ip rule add pref 4301 fwmark 17 blackhole protocol 118",
    "ip rule add pref 4300 fwmark 17 goto 4302 protocol 118",
    "ip rule del pref 4300 fwmark 17; "
    "ip rule add pref 4300 fwmark 17 iif lo goto 5000 protocol 118",
    "ip rule add pref 4302 nop protocol 118",
    "ip rule del pref 4302; ip rule add not pref 4302 fwmark 0x1000/0xfffff080 nop protocol 118",
    "ip -4 route replace blackhole default table 30320 proto 118",
    "ip -6 route add blackhole default table 30320 proto 118 metric 5",
    "ip -4 route replace local default dev eth0 table 30320 proto 118",
    "ip -4 route add local default dev lo table 30320 proto 118 metric 5",
    "ip -6 route add local default dev lo table 30320 proto 118 metric 5",
    "ip -4 route add local default dev lo table 30320 proto 118 tos 0x10",
    "ip -4 route add 203.0.113.0/24 dev eth0 table 30320 proto 118",
    "ip -4 route add 203.0.113.0/25 via 10.0.0.2 table 30320 proto 118 metric 7",
    "ip -6 route add 2001:db8:1::/64 via fd00::2 dev eth0 table 30320 proto 118",
]
# What only a comparison of every prefix sees.
UNSEEN = [
    "nft delete element inet vipctl v4_24_1024 { 203.0.113.0 : 17 }",
    "nft flush map inet vipctl v4_24_1024",
    "nft flush map inet vipctl v6_64_1024",
    "nft add element inet vipctl v4_24_1024 { 192.88.99.0 : 17 }",
    "nft 'delete element inet vipctl v4_32_1024 { 198.51.100.9 : 18 }; "
    "add element inet vipctl v4_32_1024 { 198.51.100.9 : 17 }'",
    "nft 'add element inet vipctl v4_32_1024 { * : 17 }'",
]
DAMAGE += ALTERED
COMMONEST = ["nft flush ruleset", "ip rule del pref 4301 fwmark 17"]


def director(net: Lab, state: Path) -> Drift:
    """vipctl with services of every kind that this kernel has."""
    vipctl = Vipctl(net.director, state)
    vipctl("add-range", "203.0.113.0/24", "2001:db8:1::/64", "--fwmark", "17", "--ping")
    vipctl("add-range", "198.51.100.9", "--fwmark", "18", "--port", "udp/9")
    vipctl("add-service", "web")
    vipctl("add-range", "192.0.2.0/29", "--service", "web")
    return Drift(net, vipctl, _assert_served)


def _assert_served(net: Lab) -> None:
    with LocalInCounter(net.director) as counter:
        assert accepted(net, counter, [*VIPS, "192.88.99.1"]) == VIPS


CASE = Case(director, DAMAGE, UNSEEN, COMMONEST)
