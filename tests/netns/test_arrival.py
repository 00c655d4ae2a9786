"""What routing does to packets for VIPs before it comes to vipctl's rules: told, or no false alarm.

Each case is checked with real packets too: what is told of does not arrive, what is not does.
"""

from collections.abc import Iterator

import pytest

from tests.harness.command import Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.netns.arrivals import accepted
from tests.netns.conftest import _settled_lab
from vipctl.linux.routing import ways
from vipctl.linux.routing.localroutes import RTN_LOCAL
from vipctl.operate import arrival

VIP4, VIP6 = "203.0.113.7", "2001:db8:1::7"
FAR = "198.51.100.0/24"  # of no client


@pytest.fixture(scope="module")
def routed() -> Iterator[Lab]:
    """A director whose default route is the client, where somebody else's table 99 leads too."""
    with _settled_lab() as net:
        _default_routes(net.director, "main", "99")
        yield net


@pytest.fixture(scope="module")
def serving(routed: Lab, tmp_path_factory: pytest.TempPathFactory) -> Vipctl:
    """Two services whose marks have rules of their own, and one whose mark is of the block."""
    vipctl = Vipctl(routed.director, tmp_path_factory.mktemp("arrival") / "state")
    vipctl("add-range", "203.0.113.0/24", "2001:db8:1::/64", "--fwmark", "17")
    vipctl("add-range", "192.0.2.0/24", "--fwmark", "18")
    vipctl("add-service", "web")
    vipctl("add-range", "198.18.0.0/24", "--service", "web")
    return vipctl


# The rule of somebody else, and VIPs that it keeps from being accepted.
BAD = [
    ("-4", "pref 100 lookup 99", [VIP4, "192.0.2.1", "198.18.0.1"]),
    ("-6", "pref 100 lookup 99", [VIP6]),
    ("-4", "pref 100 lookup main", [VIP4, "192.0.2.1", "198.18.0.1"]),
    ("-4", "pref 4300 lookup 99", [VIP4, "192.0.2.1", "198.18.0.1"]),
    ("-4", "pref 100 fwmark 18 lookup 99", ["192.0.2.1"]),
    ("-4", "pref 100 not fwmark 18 lookup 99", [VIP4, "198.18.0.1"]),
    ("-4", "pref 100 fwmark 0x1000 lookup 99", ["198.18.0.1"]),
    ("-4", "pref 100 to 203.0.113.0/29 lookup 99", [VIP4]),
    ("-4", "pref 100 iif eth0 lookup 99", [VIP4, "192.0.2.1", "198.18.0.1"]),
    ("-4", "pref 100 ipproto tcp lookup 99", []),
    ("-6", "pref 100 to 2001:db8:1::/120 lookup 99", [VIP6]),
    ("-4", "pref 100 blackhole", [VIP4, "192.0.2.1", "198.18.0.1"]),
    ("-4", "pref 100 unreachable", [VIP4, "192.0.2.1", "198.18.0.1"]),
    ("-4", "pref 100 fwmark 17 prohibit", [VIP4]),
    ("-4", "pref 100 goto 32766", [VIP4, "192.0.2.1", "198.18.0.1"]),
    ("-6", "pref 100 unreachable", [VIP6]),
]
HARMLESS = [
    ("-4", "pref 100 lookup 98"),  # an empty table
    ("-6", "pref 100 lookup 98"),
    ("-4", f"pref 100 from {FAR} lookup 99"),
    ("-4", "pref 100 from 10.0.1.1 lookup 99"),  # its own address, on two uplinks
    ("-4", "pref 100 lookup local"),
    ("-6", "pref 100 lookup local"),
    ("-4", "pref 100 to 198.51.100.0/24 lookup 99"),
    ("-4", "pref 100 fwmark 99 lookup 99"),
    ("-4", "pref 100 iif eth1 lookup 99"),
    ("-4", "pref 100 oif eth0 lookup 99"),
    ("-4", "pref 100 lookup main suppress_prefixlength 0"),
    ("-4", "pref 100 nop"),
    ("-4", "pref 100 goto 4300"),
    ("-4", "pref 4303 lookup 99"),
    ("-4", "pref 5000 lookup 99"),
    ("-6", "pref 5000 lookup 99"),
]
VIPS = [VIP4, VIP6, "192.0.2.1", "198.18.0.1"]


def _lost(net: Lab) -> list[str]:
    with LocalInCounter(net.director) as counter:
        arrived = accepted(net, counter, VIPS)
    return [vip for vip in VIPS if vip not in arrived]


@pytest.mark.parametrize(("version", "rule", "lost"), BAD)
def test_a_rule_that_takes_packets_away_is_named(
    routed: Lab, serving: Vipctl, version: str, rule: str, lost: list[str]
) -> None:
    routed.director.run(["ip", version, "rule", "add", *rule.split()])
    try:
        found = serving("status")["findings"]
        checked = serving("--check", "add-range", "203.0.113.0/24", "--fwmark", "17")["warnings"]
        changed = serving("add-range", "203.0.113.0/24", "--fwmark", "17")["warnings"]
        really = _lost(routed)
    finally:
        routed.director.run(["ip", version, "rule", "del", *rule.split()])
    assert really == lost, "the case itself"
    assert found == checked == changed
    assert all(f"ip {version} rule pref {rule.split()[1]} " in words for words in found), found
    assert found
    assert "eth0" in found[0]
    assert serving("status")["findings"] == []


@pytest.mark.parametrize(("version", "rule"), HARMLESS)
def test_no_false_alarm(routed: Lab, serving: Vipctl, version: str, rule: str) -> None:
    routed.director.run(["ip", version, "rule", "add", *rule.split()])
    try:
        assert _lost(routed) == [], "the case itself"
        assert serving("status")["findings"] == []
    finally:
        routed.director.run(["ip", version, "rule", "del", *rule.split()])


def _default_routes(host: Namespace, *tables: str) -> None:
    for version, via in (("-4", "10.0.0.2"), ("-6", "fd00::2")):
        for table in tables:
            host.run(f"ip {version} route add default via {via} table {table}".split())


@pytest.mark.parametrize(
    ("method", "becomes"), [("fwmark", 4299), ("fwmark-iptables", 4309), ("tproxy", 4319)]
)
def test_a_rule_without_preference_comes_before_ours(
    net: Lab, vipctl: Vipctl, method: str, becomes: int
) -> None:
    """The kernel puts it before all but rule 0."""
    _default_routes(net.director, "main", "99")
    proxied = ["--service=web", "--to-port=8080"]
    words = [f"--method={method}", *(proxied if method == "tproxy" else ["--fwmark=17"])]
    vipctl("add-range", "203.0.113.0/24", *words)
    assert vipctl("status")["findings"] == []
    net.director.ip("rule add lookup 99")
    (found,) = vipctl("status")["findings"]
    assert f"ip -4 rule pref {becomes} lookup 99" in found
    assert "203.0.113.0 that arrive by eth0" in found


@pytest.mark.parametrize("rule", ["lookup 99", "to 203.0.113.128/25 lookup 99", "blackhole"])
def test_what_would_be_the_first_range_is_asked_for(net: Lab, vipctl: Vipctl, rule: str) -> None:
    """With --check too, where nothing of vipctl's is there yet."""
    _default_routes(net.director, "main", "99")
    net.director.ip("rule add pref 99 lookup 98", "rule add pref 32000 lookup main")
    words = ["add-range", "203.0.113.0/24", "2001:db8:1::/64", "--fwmark", "17"]
    assert vipctl("--check", *words)["warnings"] == []
    net.director.ip(f"rule add pref 100 {rule}")
    (found,) = vipctl("--check", *words)["warnings"]
    assert f"ip -4 rule pref 100 {rule}" in found
    assert vipctl(*words)["warnings"] == [found]


def test_what_is_repaired_is_no_finding(net: Lab, vipctl: Vipctl) -> None:
    _default_routes(net.director, "main")
    words = ["add-range", "203.0.113.0/24", "--fwmark", "17"]
    vipctl(*words)
    net.director.ip("rule del pref 4301")
    assert (vipctl("status")["kernel"], vipctl("status")["findings"]) == ("differs", [])
    assert vipctl("--check", *words)["warnings"] == []


def test_many_services_of_a_rule_each(net: Lab, vipctl: Vipctl) -> None:
    """A rule of one mark is found among others."""
    _default_routes(net.director, "main", "99")
    for mark in range(17, 27):
        vipctl("add-range", f"203.0.113.{mark}", "--fwmark", str(mark))
    net.director.ip(*(f"rule add pref {n} fwmark {n} lookup 99" for n in (20, 26)))
    found = vipctl("status")["findings"]
    assert [words.split(" lookup")[0] for words in found] == [
        "`ip -4 rule pref 20 fwmark 0x14/0xffffffff",
        "`ip -4 rule pref 26 fwmark 0x1a/0xffffffff",
    ]


def test_a_rule_of_equal_priority_between_two_of_ours(net: Lab, vipctl: Vipctl) -> None:
    _default_routes(net.director, "main", "99")
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")
    net.director.ip("rule add pref 4301 lookup 99")
    assert vipctl("status")["findings"] == []
    (found,) = vipctl("add-range", "192.0.2.0/24", "--fwmark", "18")["warnings"]
    assert "ip -4 rule pref 4301 lookup 99" in found
    assert "192.0.2.0 that arrive" in found


def test_a_rule_of_equal_priority_before_ours(net: Lab, vipctl: Vipctl) -> None:
    _default_routes(net.director, "main", "99")
    net.director.ip("rule add pref 4301 lookup 99")
    (found,) = vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")["warnings"]
    assert "ip -4 rule pref 4301 lookup 99" in found


def test_route_is_looked_up_in_table_local_and_without_mark(net: Lab, vipctl: Vipctl) -> None:
    _default_routes(net.director, "main", "99")
    words = ["add-range", "203.0.113.0/24", "2001:db8:1::/64", "--fwmark", "17", "--method=route"]
    assert vipctl(*words)["warnings"] == []
    net.director.ip("rule add pref 100 lookup 99", "rule add pref 101 fwmark 17 lookup 99")
    assert vipctl("status")["findings"] == []
    net.director.ip("rule add pref 200 lookup local", "rule del pref 0")
    (found,) = vipctl("status")["findings"]
    assert "ip -4 rule pref 100 lookup 99" in found


def test_without_a_default_route_neighbours_are_the_clients(net: Lab, vipctl: Vipctl) -> None:
    net.director.ip("route add unreachable default table 99")
    assert vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")["warnings"] == []
    net.director.ip("rule add pref 100 iif eth1 lookup 99")
    (found,) = vipctl("status")["findings"]
    assert "ip -4 rule pref 100 iif eth1 lookup 99" in found
    assert "arrive by eth1" in found


def test_strict_source_validation_and_two_uplinks(net: Lab, vipctl: Vipctl) -> None:
    _default_routes(net.director, "main")
    net.director.ip("route add default via 10.0.1.254 metric 100")
    assert vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")["warnings"] == []
    net.director.sysctl("net.ipv4.conf.eth1.rp_filter", 1)
    (found,) = vipctl("status")["findings"]
    assert "203.0.113.0 that arrive by eth1" in found
    assert "rp_filter=2" in found
    net.director.sysctl("net.ipv4.conf.eth1.rp_filter", 2)
    assert vipctl("status")["findings"] == []


def test_somebody_elses_route_in_our_table(net: Lab, vipctl: Vipctl) -> None:
    """It is not ours to remove."""
    _default_routes(net.director, "main")
    assert vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")["warnings"] == []
    net.director.ip("route add 203.0.113.0/24 via 10.0.0.2 table 30320")
    (found,) = vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")["warnings"]
    assert "table 30320" in found
    assert (
        "203.0.113.0/24 via 10.0.0.2"
        in net.director.run(["ip", "route", "show", "table", "30320"]).stdout
    )


def test_many_rules_and_services_cost_a_bounded_number_of_questions(
    net: Lab, vipctl: Vipctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    _default_routes(net.director, "main", "99")
    for mark in range(17, 25):
        vipctl("add-range", f"203.0.113.{mark}", "--fwmark", str(mark))
    net.director.ip(*(f"rule add pref {n} to 203.0.113.{n} lookup 99" for n in range(1, 256)))
    asked = []

    def taken_by(_: object, packet: ways.Packet) -> ways.Way:
        asked.append(packet)
        return ways.Way(kind=RTN_LOCAL)

    monkeypatch.setattr(ways, "taken_by", taken_by)
    vipctl("status")
    assert 8 <= len(asked) <= arrival.MOST_TARGETS
