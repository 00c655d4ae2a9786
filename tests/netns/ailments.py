"""Why a VIP does not answer: each cause as somebody makes it. A later one is one entry more.

Words in `make` are a shell's on the director, once for each IP version that is asked about; what
begins with `vipctl` is a command of vipctl's. `$v` is the version, and so on (`words`).
"""

from collections.abc import Callable, Mapping
from string import Template
from typing import NamedTuple

from tests.harness.netns import Namespace
from tests.netns.firewalls import FIREWALLS, ICMP6, Firewall, own

FWMARK, IPTABLES, ROUTE, TPROXY = "fwmark", "fwmark-iptables", "route", "tproxy"
METHODS = (FWMARK, IPTABLES, ROUTE, TPROXY)
BALANCED, RULED = METHODS[:3], (FWMARK, IPTABLES, TPROXY)
REALS = ("10.0.1.11", "10.0.1.12", "fd00:1::11", "fd00:1::12")
ABSENT = ("10.0.1.99", "fd00:1::99")
FAR = ("10.9.9.9", "fd09::9")
ANYBODY: Mapping[int, str] = {4: "", 6: ""}
BY_ETH1 = {4: "--from 192.0.2.9 --in eth1", 6: "--from 2001:db8:99::9 --in eth1"}
STRANGER = {4: "--from 192.0.2.9 --in eth0", 6: "--from 2001:db8:99::9 --in eth0"}
TABLES = {FWMARK: 30320, IPTABLES: 30321, TPROXY: 30322}
PRIORITIES = {FWMARK: 4300, IPTABLES: 4310, TPROXY: 4320}
NFT = {FWMARK: "inet vipctl", ROUTE: "inet vipctl_route", TPROXY: "inet vipctl_tproxy"}
BY_VERSION = {
    4: {
        "vip": "203.0.113.7", "range": "203.0.113.0/24", "gateway": "10.0.0.2",
        "element": "v4_24_1024 { 203.0.113.0 : 0x1000 }",
        "tables": "iptables", "absent": ABSENT[0], "behind": FAR[0],
    },
    6: {
        "vip": "2001:db8:1::7", "range": "2001:db8:1::/64", "gateway": "fd00::2",
        "element": "v6_64_1024 { 2001:db8:1:: : 0x1000 }",
        "tables": "ip6tables", "absent": ABSENT[1], "behind": FAR[1],
    },
}  # fmt: skip
SILENT = own(ICMP6, policy="drop")
# As firewalld has it for IPv6.
BACK = """table inet mine { chain pre { type filter hook prerouting priority -290;
    fib saddr . mark . iif oif missing drop
}; }"""
OUTPUT, FORWARD = (SILENT.replace("hook input", f"hook {hook}") for hook in ("output", "forward"))


def words(text: str, method: str, version: int) -> str:
    """The text for a method and an IP version."""
    first = PRIORITIES.get(method, 0)
    facts = {
        "v": version, "skip": first, "accept": first + 1, "table": TABLES.get(method, ""),
        "nft": NFT.get(method, ""), **BY_VERSION[version],
    }  # fmt: skip
    return Template(text).safe_substitute(facts)


class Ailment(NamedTuple):
    """The cause that is to be named, how to make it, and for whom.

    `ask` has what is behind `vipctl explain VIP tcp/80`, by IP version. The service has these real
    servers, this forwarding method and scheduler; and, if it has a proxy, that listens.
    """

    cause: str
    make: tuple[str | Callable[[Namespace], None], ...] = ()
    methods: tuple[str, ...] = METHODS
    ask: Mapping[int, str] = ANYBODY
    reals: tuple[str, ...] = REALS
    forward: str = "nat"
    scheduler: str = "wlc"
    proxy: bool = True


def _firewall(text: str) -> Callable[[Namespace], None]:
    return Firewall(text, passes=False).load


LED_AWAY = "ip -$v route add default via $gateway table 99; ip -$v rule add pref 100"
OTHERS = "ip -$v route add $range via $gateway dev eth0"
LOOKUP = "ip -$v rule add pref 200 lookup local; ip -$v rule del pref 0"
AILMENTS = [
    Ailment("vip-in-no-service", ("vipctl remove-range $range",)),
    Ailment("port-in-no-service", ("vipctl set-service web --port tcp/443",)),
    Ailment("passive", ("vipctl deactivate",)),
    Ailment("passive", ("vipctl deactivate --service web",)),
    Ailment("asked-from-director", (), (ROUTE, TPROXY), {4: "--from 10.0.0.1"}),
    Ailment(
        "rp-filter",
        ("sysctl -w net.ipv4.conf.eth1.rp_filter=1",),
        ask={4: "--from 192.0.2.9 --in eth1"},
    ),
    Ailment(
        "rp-filter",
        ("sysctl -w net.ipv4.conf.all.rp_filter=2; ip route del default",),
        ask={4: STRANGER[4]},
        forward="dr",
    ),
    Ailment(
        "src-valid-mark",
        ("sysctl -w net.ipv4.conf.eth0.src_valid_mark=1; ip rule del pref $skip",),
        RULED,
        {4: ""},
    ),
    Ailment("source-refused", (), ask={4: "--from 10.0.0.255 --in eth0"}),
    Ailment(
        "source-refused",
        (
            "ip route add default via 10.0.1.254 table 99; "
            "sysctl -w net.ipv4.conf.eth0.rp_filter=1 net.ipv4.conf.eth0.src_valid_mark=1; "
            "ip rule add pref 100 iif lo fwmark 0x1000/0xf000 lookup 99",
        ),
        RULED,
        {4: STRANGER[4]},
    ),
    Ailment("shim-missing", (), ("shim",)),
    Ailment("ipv6-disabled", ("sysctl -w net.ipv6.conf.lo.disable_ipv6=1",), ask={6: ""}),
    Ailment("rule-gone", ("ip -$v rule del pref $accept",), RULED),
    Ailment("route-gone", ("ip -$v route flush table $table",), RULED),
    Ailment("route-gone", ("ip -$v route flush table local proto 118",), (ROUTE,)),
    Ailment("route-gone", ("ip link set lo down; ip link set lo up",), ask={6: ""}),
    Ailment("marking-gone", ("nft flush ruleset",), tuple(NFT)),
    Ailment("marking-gone", ("nft flush table $nft",), tuple(NFT)),
    Ailment("marking-gone", ("nft 'add table $nft { flags dormant; }'",), tuple(NFT)),
    Ailment("marking-gone", ("$tables-legacy -w -t mangle -F",), (IPTABLES,)),
    Ailment("marking-gone", ("$tables-legacy -w -t mangle -F PREROUTING",), (IPTABLES,)),
    Ailment("prefix-missing", ("nft delete element $nft $element",), tuple(NFT)),
    Ailment("prefix-missing", ("ipset flush",), (IPTABLES,)),
    Ailment("rule-before-ours", (f"{LED_AWAY} lookup 99",), RULED),
    Ailment("rule-before-ours", (f"{LED_AWAY} fwmark 0x1000/0xf000 blackhole",), RULED),
    Ailment("rule-before-ours", (f"{LED_AWAY} lookup 99; {LOOKUP}",), (ROUTE,)),
    Ailment("route-elsewhere", (f"{OTHERS} table $table",), RULED),
    Ailment("firewall-prerouting", (_firewall(BACK),), ask=BY_ETH1),
    Ailment("firewall-input", (FIREWALLS["the usual"].load,)),
    Ailment("firewall-input", (FIREWALLS["ufw"].load,), (FWMARK, IPTABLES)),
    Ailment("firewall-input", (FIREWALLS["iptables-legacy, not local"].load,), (FWMARK, IPTABLES)),
    Ailment(
        "firewall-input",
        (FIREWALLS["not those clients"].load,),
        (FWMARK, ROUTE),
        {4: "--from 192.0.2.9", 6: "--from 2001:db8:9::9"},
    ),
    Ailment("firewall-output", (_firewall(OUTPUT),), BALANCED),
    Ailment("firewall-output", (_firewall(OUTPUT),), (FWMARK,), forward="dr"),
    Ailment("firewall-forward", (_firewall(FORWARD),), BALANCED),
    Ailment("no-real-server", (), BALANCED, reals=()),
    Ailment("no-real-server", (), (FWMARK,), {6: ""}, reals=REALS[:2]),
    Ailment("all-drained", (), BALANCED, reals=tuple(f"{real},weight=0" for real in REALS)),
    Ailment(
        "scheduler-without-fallback",
        (),
        BALANCED,
        reals=(*(f"{real},weight=0" for real in REALS[::2]), *REALS[1::2]),
        scheduler="mh",
    ),
    Ailment("proxy-not-listening", (), (TPROXY,), proxy=False),
    Ailment(
        "no-route-to-real", ("ip -$v route del default",), BALANCED, reals=FAR, forward="tun"
    ),
    Ailment("link-down", ("ip link set eth1 down",), BALANCED, {4: ""}),
    Ailment("link-down", ("ip link set eth1 down",), ask=BY_ETH1),
    Ailment(
        "link-down",
        (
            "ip link show veth7 || ip link add veth7 type veth peer name veth8; "
            "ip link set veth7 up; ip -4 address replace 10.9.9.1/24 dev veth7; "
            "ip -6 address replace fd09::1/64 dev veth7 nodad",
        ),
        (FWMARK,),
        reals=FAR,
    ),
    Ailment(
        "link-down",
        (
            "ip link show veth7 || ip link add veth7 type veth peer name veth8; "
            "ip link set veth7 up; ip -$v route add $behind dev veth7",
        ),
        (FWMARK,),
        reals=FAR,
    ),
    Ailment(
        "neighbour-failed",
        ("ip -$v neighbour replace $absent dev eth1 nud failed",),
        BALANCED,
        reals=ABSENT,
    ),
    Ailment("forwarding-off", ("sysctl -w net.ipv4.ip_forward=0",), BALANCED, {4: ""}),
    Ailment("forwarding-off", ("sysctl -w net.ipv4.conf.eth1.forwarding=0",), (FWMARK,), {4: ""}),
    Ailment("forwarding-off", ("sysctl -w net.ipv6.conf.all.forwarding=0",), BALANCED, {6: ""}),
    Ailment(
        "client-beside-reals", (), BALANCED, {4: "--from 10.0.1.50", 6: "--from fd00:1::50"}
    ),
    Ailment("no-route-to-client", ("ip -$v route del default",), BALANCED, STRANGER),
]  # fmt: skip
