"""What the director cannot have is named, takes down nothing else, and is in nobody's way."""

from ipaddress import ip_address

import pytest
from nftables import Nftables

from tests.harness.command import Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.harness.traffic import udp_send
from tests.harness.waiting import wait_until
from tests.netns import snapshot
from tests.netns.arrivals import accepted
from vipctl.addresses.spans import Spans
from vipctl.services.change import Change, Place
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.state.store import Store

V4, V6 = "203.0.113.0/24", "2001:db8:1::/64"
VIPS = ("203.0.113.77", "198.51.100.9", "2001:db8:1::77")
METHODS = {
    "fwmark": "--method=fwmark",
    "fwmark-iptables": "--method=fwmark-iptables",
    "route": "--method=route",
    "tproxy": "--to-port=8080",
}
# How the director loses IPv6 and has it again.
DISABLE = "sysctl -qw net.ipv6.conf.{}.disable_ipv6={}"
LOSSES = {
    "all": (DISABLE.format("all", 1), DISABLE.format("all", 0)),
    "lo": (DISABLE.format("lo", 1), DISABLE.format("lo", 0)),
}
LAST = "10.0.0.1"  # of the director
NAMED = ("IPv6 VIPs of web are not accepted, as ", "IPv6 VIPs of fwmark-17 are not accepted, as ")


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def web(method: str) -> str:
    """The name of a service; IPVS is somebody else's."""
    return "web" if method == "tproxy" else "fwmark-17"


@pytest.fixture
def other(method: str) -> str:
    return "other" if method == "tproxy" else "fwmark-18"


@pytest.fixture
def stored(vipctl: Vipctl, method: str, web: str, other: str) -> Vipctl:
    """vipctl with ranges of both IP versions, and with another service."""
    option = METHODS[method]
    marks = ("--fwmark=17", "--fwmark=18") if method == "tproxy" else ()
    vipctl("add-range", V4, V6, to(web), *marks[:1], option)
    vipctl("add-range", "198.51.100.0/24", to(other), *marks[1:], option)
    return vipctl


def to(name: str) -> str:
    """The option that names a service."""
    return f"--fwmark={name[7:]}" if name.startswith("fwmark-") else f"--service={name}"


@pytest.fixture(params=LOSSES)
def loss(request: pytest.FixtureRequest, net: Lab, stored: Vipctl) -> str:
    net.director.run(["sh", "-c", LOSSES[request.param][0]])
    return str(request.param)


def regain(net: Lab, loss: str) -> None:
    net.director.run(["sh", "-c", LOSSES[loss][1]])
    for device, address in (("eth0", "fd00::1/64"), ("eth1", "fd00:1::1/64")):
        net.director.run(["ip", "addr", "replace", address, "dev", device, "nodad"])
    snapshot.settle(net.director)


def served4(net: Lab) -> set[str]:
    """The IPv4 VIPs of which a datagram reaches LOCAL_IN."""
    with LocalInCounter(net.director) as counter:
        udp_send(net.client, [*VIPS[:2], LAST], 9)
        wait_until(lambda: counter.count(0, LAST) == 1, "the last is counted")
        return {dst for _, dst in counter.counts()} - {LAST}


def is_named(said: object) -> bool:
    return any(name in str(said) for name in NAMED)


def assert_named(vipctl: Vipctl, *words: str, changed: bool) -> None:
    """With --check too, and without the same being restored again and again."""
    for check in (["--check"], []):
        done = vipctl(*check, *words)
        assert (done["changed"], is_named(done["warnings"])) == (changed, True), done


@pytest.mark.usefixtures("loss")
def test_the_rest_is_restored_and_serves(net: Lab, stored: Vipctl, method: str) -> None:
    net.director.run(["nft", "flush ruleset"])
    net.director.run(["ip", "rule", "flush"])
    net.director.run(["ip", "rule", "add", "pref", "32766", "lookup", "main"])
    for words in (["--check", "restore"], ["restore"], ["restore"]):
        code, error = stored.error(*words)
        assert (code, error["kind"]) == (5, "missing"), error
        assert is_named(error["message"])
        assert "then vipctl restore" in error["hint"]
    status = stored("status")
    assert status["kernel"] == "differs"
    assert [is_named(problem) for problem in status["problems"]] == [True]
    if method != "tproxy":
        assert served4(net) == {"203.0.113.77", "198.51.100.9"}


@pytest.mark.usefixtures("loss")
@pytest.mark.parametrize("loss", ["all"], indirect=True)
def test_other_commands_go_ahead(stored: Vipctl, web: str, other: str) -> None:
    restored = stored("add-range", "192.0.2.0/25", to(other))
    assert (restored["changed"], is_named(restored["warnings"])) == (True, True)
    assert_named(stored, "add-range", "192.0.2.0/25", to(other), changed=False)
    assert_named(stored, "add-range", "192.0.2.128/25", to(web), changed=True)
    assert_named(stored, "set-service", web, "--leftover=drop", changed=True)
    assert_named(stored, "remove-range", V4, changed=True)
    assert_named(stored, "remove-service", other, changed=True)
    assert stored("status")["pending"] is False


@pytest.mark.parametrize("removal", ["remove-range", "remove-service"])
def test_what_cannot_be_restored_can_be_removed(
    net: Lab, stored: Vipctl, loss: str, web: str, other: str, removal: str
) -> None:
    words = [removal, V6 if removal == "remove-range" else web]
    for check in (["--check"], []):
        done = stored(*check, *words)
        assert (done["changed"], done["warnings"]) == (True, [])
    assert stored("status")["kernel"] == "as stored"
    assert stored("restore")["changed"] is False
    regain(net, loss)
    assert stored("restore")["changed"] is False
    stored("remove-service", other)
    if removal == "remove-service":
        assert "proto 118" not in str(snapshot.kernel(net.director))
        assert "vipctl" not in str(snapshot.kernel(net.director))


@pytest.mark.usefixtures("loss")
@pytest.mark.parametrize("loss", ["all"], indirect=True)
def test_nothing_of_it_can_be_added(net: Lab, stored: Vipctl, web: str) -> None:
    assert stored.error("restore")[0] == 5
    before = snapshot.kernel(net.director), stored("export")
    for check in (["--check"], []):
        code, error = stored.error(*check, "add-range", "2001:db8:2::/64", to(web))
        assert (code, is_named(error["message"])) == (5, True)
    assert (snapshot.kernel(net.director), stored("export")) == before


def test_it_comes_back(net: Lab, stored: Vipctl, web: str, other: str) -> None:
    """As it was, with the next changing command."""
    before = snapshot.unordered(net.director)
    for loss in LOSSES:
        net.director.run(["sh", "-c", LOSSES[loss][0]])
        stored("add-range", "192.0.2.0/25", to(other))
        stored("remove-range", "192.0.2.0/25")
        regain(net, loss)
        done = stored("add-range", V6, to(web))
        assert (done["changed"], done["warnings"]) == (True, [])
        assert stored("restore")["changed"] is False
        assert stored("status")["problems"] == []
        assert snapshot.unordered(net.director) == before


def test_what_cannot_be_foreseen(
    net: Lab, stored: Vipctl, method: str, web: str, other: str
) -> None:
    """While `lo` is down there can be no new route to it; those of IPv4 stay."""
    before = snapshot.unordered(net.director)
    net.director.ip("link set lo down")
    assert (stored.error("restore")[0], stored.error("restore")[0]) == (5, 5)
    done = stored("remove-range", "198.51.100.0/25")
    assert (done["changed"], is_named(done["warnings"])) == (True, True)
    assert stored("add-range", V4, to(web))["changed"] is False
    if method != "tproxy":
        assert served4(net) == {"203.0.113.77"}
    net.director.ip("link set lo up")
    done = stored("add-range", V4, to(web))
    assert (done["changed"], done["warnings"]) == (True, [])
    stored("add-range", "198.51.100.0/25", to(other))
    assert snapshot.unordered(net.director) == before


def test_all_of_one_method(net: Lab, vipctl: Vipctl) -> None:
    """Its table is another's, and goes with that program. The other method serves."""
    vipctl("add-range", V4, "--fwmark=17")
    vipctl("add-range", "198.51.100.0/24", "--fwmark=18", "--method=route")
    net.director.run(["nft", "delete table inet vipctl"])
    with net.director:
        owner = Nftables()
        assert owner.cmd("add table inet vipctl { flags owner; }")[0] == 0
    assert_the_other_serves(net, vipctl)
    del owner
    assert vipctl("restore")["changed"] is True
    assert vipctl("restore")["changed"] is False
    assert served4(net) == {"198.51.100.9", "203.0.113.77"}
    vipctl("remove-service", "fwmark-17")
    vipctl("remove-service", "fwmark-18")
    assert "vipctl" not in str(snapshot.kernel(net.director))


def assert_the_other_serves(net: Lab, vipctl: Vipctl) -> None:
    for _ in range(2):
        code, error = vipctl.error("restore")
        assert (code, error["kind"]) == (5, "missing")
        assert "VIPs of fwmark-17 are not accepted, as nftables: " in error["message"]
        assert "fwmark-18" not in error["message"]
    done = vipctl("remove-range", "198.51.100.128/25")
    assert (done["changed"], done["restored"], len(done["warnings"])) == (True, False, 1)
    assert served4(net) == {"198.51.100.9"}
    assert vipctl.error("add-range", "192.0.2.0/24", "--fwmark=17")[0] == 5
    assert vipctl("remove-range", "203.0.113.128/25")["changed"] is True
    assert vipctl("status")["kernel"] == "differs"


# other people's routes and rules where ours belong

BLACKHOLES = (
    "route add blackhole default table 30320",
    "-6 route add blackhole default table 30320",
)
OTHERS = (
    "route add local default dev lo table 30320",
    "-6 route add local default dev lo table 30320",
)
RULES = tuple(f"{v} rule add pref 4301 fwmark 17 lookup 30320" for v in ("-4", "-6"))


@pytest.mark.parametrize("foreign", [BLACKHOLES, OTHERS, RULES], ids=["hole", "local", "rules"])
@pytest.mark.parametrize("when", ["before", "instead"])
def test_routes_and_rules_of_others(
    net: Lab, vipctl: Vipctl, foreign: tuple[str, str], when: str
) -> None:
    """They stay, and are in nobody's way."""
    if when == "before":
        _ip(net, *foreign)
        vipctl("add-range", V4, V6, "--fwmark=17")
    else:
        vipctl("add-range", V4, V6, "--fwmark=17")
        _ip(net, "route flush table 30320", "-6 route flush table 30320")
        _ip(net, "rule del pref 4301", "-6 rule del pref 4301", *foreign)
        assert vipctl("restore")["changed"] is True
    assert vipctl("restore")["changed"] is False
    with LocalInCounter(net.director) as counter:
        assert set(accepted(net, counter, VIPS)) == {"203.0.113.77", "2001:db8:1::77"}
    vipctl("remove-service", "fwmark-17")
    left = str(snapshot.kernel(net.director))
    assert ("30320" in left, "proto 118" in left) == (True, False)


def _ip(net: Lab, *commands: str) -> None:
    for words in commands:
        net.director.run(["ip", *words.split()])


# IPVS, which this kernel does not have


@pytest.fixture
def unbalanced(vipctl: Vipctl) -> Vipctl:
    """As after a boot into a kernel without IPVS: a service that it balanced, and one beside."""
    reals = tuple(RealServer(ip_address(real)) for real in ("10.0.1.11", "10.0.1.12"))
    web = Service("web", 0x1000, "fwmark", reals=reals)
    spans = {Place("web", 4, 0): Spans.from_pairs(4, [(int(ip_address(VIPS[0])),) * 2])}
    with Store.open(vipctl.state_dir) as store, vipctl.host:
        store.begin(Change((), (web,), {}, spans), (), {})
    return vipctl


def test_a_kernel_without_ipvs(net: Lab, unbalanced: Vipctl) -> None:
    missing = "web is not balanced (IPv4), as this kernel has no IPVS"
    for words in (["--check", "restore"], ["restore"], ["restore"]):
        code, error = unbalanced.error(*words)
        assert (code, missing in error["message"]) == (5, True)
        assert error["hint"].startswith("modprobe ip_vs, or boot a kernel that has IPVS")
        assert error["hint"].endswith("; then vipctl restore")
    done = unbalanced("add-range", "198.51.100.0/24", "--fwmark=18")
    assert (done["changed"], done["restored"], missing in str(done["warnings"])) == (True, False, 1)
    assert served4(net) == {"203.0.113.77", "198.51.100.9"}
    assert unbalanced("status")["problems"] == [f"{missing}, or its module is not loaded"]
    for words in (["add-real", "web", "fd00:1::11"], ["add-service", "new", "--real=10.0.1.13"]):
        for check in (["--check"], []):
            assert unbalanced.error(*check, *words)[0] == 5
    for words, said in (
        (["remove-real", "web", "10.0.1.12"], True),
        (["remove-real", "web", "10.0.1.11"], False),
        (["remove-service", "web"], False),
    ):
        for check in (["--check"], []):
            done = unbalanced(*check, *words)
            assert (done["changed"], missing in str(done["warnings"])) == (True, said)
    assert unbalanced("restore")["changed"] is False
    assert served4(net) == {"198.51.100.9"}
