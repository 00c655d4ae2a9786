"""Of `tproxy`: its table, rules and routes."""

from pathlib import Path

from tests.conformance.servers import WebServer, stand_in
from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import Outcome, tcp_get
from tests.netns.drift import Case, Drift

VIPS = ("203.0.113.77", "198.51.100.9", "2001:db8:1::77")
PROXY = ("--method", "tproxy", "--to-port", "8080")
TABLE = "inet vipctl_tproxy"

# By other tools, behind vipctl's back.
DAMAGE = [
    "nft flush ruleset",
    f"nft delete table {TABLE}",
    f"nft flush chain {TABLE} prerouting",
    f"nft flush chain {TABLE} proxied",
    f"nft flush chain {TABLE} still_vip",
    f"nft flush chain {TABLE} accepted",
    f"nft flush chain {TABLE} leftover",
    f"nft delete chain {TABLE} ping",
    f"nft insert rule {TABLE} proxied accept",
    f"nft 'add table {TABLE} {{ flags dormant; }}'",
    "ip rule del pref 4320",
    "ip rule del pref 4321",
    "ip -6 rule del pref 4322",
    "ip -4 route flush table 30322",
    "ip -6 route flush table 30322",
    "ip link set lo down; ip link set lo up",
]
UNSEEN = [
    f"nft flush map {TABLE} v4_24_1024",
    f"nft add element {TABLE} v4_24_1024 {{ 192.88.99.0 : 0x1000 }}",
]


COMMONEST = ["nft flush ruleset"]


def director(net: Lab, state: Path) -> Drift:
    """vipctl with two services, and a proxy."""
    for bind in ("0.0.0.0", "::"):
        stand_in(WebServer(net.director, bind, 8080, "proxy").socket)
    vipctl = Vipctl(net.director, state)
    vipctl("add-range", "203.0.113.0/24", "2001:db8:1::/64", "--service", "web", *PROXY, "--ping")
    vipctl("add-range", "198.51.100.9", "--service", "one", *PROXY, "--port=tcp/80")
    return Drift(net, vipctl, _assert_served, service="web")


def _assert_served(net: Lab) -> None:
    assert {tcp_get(net.client, vip, 80).outcome for vip in VIPS} == {Outcome.ANSWERED}


CASE = Case(director, DAMAGE, UNSEEN, COMMONEST)
