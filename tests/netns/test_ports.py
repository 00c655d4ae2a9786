"""Services that share VIPs: each gets its ports with its mark, nobody gets another port."""

from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import Outcome, tcp_get, udp_ask, udp_send
from tests.netns import foreign
from tests.netns.gate import Gate, Seen
from tests.netns.iptables import ByIptables
from tests.netns.packets import need_frag, tcp_ack, transmit
from tests.netns.route import ByRoute

RANGES = ("203.0.113.0/24", "2001:db8:1::/64")
VIPS = ("203.0.113.77", "2001:db8:1::77")
HALVES = ("203.0.113.64/26", "2001:db8:1::/80")  # hold VIPS
OTHERS = ("203.0.113.7", "2001:db8:1:0:1::7")  # of RANGES, not of HALVES
ROUTER = ("192.0.2.200", "2001:db8:f::200")
PORTS = ((17, "tcp", 80), (18, "udp", 53))
CLIENT = dict(zip(VIPS, ("10.0.0.2", "fd00::2"), strict=True))
SHORT = 0.2


@pytest.fixture(params=[Vipctl, ByIptables, ByRoute], ids=["fwmark", "fwmark-iptables", "route"])
def vipctl(request: pytest.FixtureRequest, net: Lab, tmp_path: Path) -> Vipctl:
    """vipctl on the director, with each method."""
    made: Vipctl = request.param(net.director, tmp_path / "state")
    return made


@pytest.fixture
def ipvs(net: Lab, vipctl: Vipctl) -> Gate:
    """What IPVS would see; behind it, where nothing else refuses, servers without listeners."""
    if isinstance(vipctl, ByIptables):
        refusing = "meta mark 1-99 meta l4proto tcp reject with tcp reset"
        foreign.hook(net.director, "servers", "input priority 99", refusing)
    return Gate(net.director)


def _share(vipctl: Vipctl, ranges: tuple[str, ...] = RANGES) -> None:
    """One after the other, the second with other ranges."""
    vipctl("add-range", *RANGES, "--fwmark", "17", "--port", "tcp/80")
    vipctl("add-range", *ranges, "--fwmark", "18", "--port", "udp/53")


def _send(net: Lab, ipvs: Gate, vips: tuple[str, ...] = VIPS) -> dict[Seen, int]:
    """One TCP connection and one UDP datagram to 53 and 80 of each VIP; what IPVS would see."""
    ipvs.reset()
    for vip in vips:
        for port in (53, 80):
            udp_send(net.client, [vip], port)
            assert tcp_get(net.client, vip, port).outcome is Outcome.REFUSED
    return ipvs.seen()


def _expected(vips: tuple[str, ...], *services: tuple[int, str]) -> dict[Seen, int]:
    return {Seen(mark, protocol, vip): 1 for vip in vips for mark, protocol in services}


def test_each_service_gets_its_port(net: Lab, vipctl: Vipctl, ipvs: Gate) -> None:
    _share(vipctl)
    assert _send(net, ipvs) == _expected(VIPS, (17, "tcp"), (18, "udp"))


def test_one_range_can_be_inside_the_other(net: Lab, vipctl: Vipctl, ipvs: Gate) -> None:
    _share(vipctl, HALVES)
    assert _send(net, ipvs) == _expected(VIPS, (17, "tcp"), (18, "udp"))
    assert _send(net, ipvs, OTHERS) == _expected(OTHERS, (17, "tcp"))
    vipctl("remove-range", *HALVES, "--service", "fwmark-18")
    vipctl("add-range", *RANGES, "--fwmark", "18", "--port", "udp/53")
    vipctl("remove-range", *RANGES, "--service", "fwmark-17")
    vipctl("add-range", *HALVES, "--fwmark", "17", "--port", "tcp/80")
    assert _send(net, ipvs) == _expected(VIPS, (17, "tcp"), (18, "udp"))
    assert _send(net, ipvs, OTHERS) == _expected(OTHERS, (18, "udp"))


@pytest.mark.parametrize(("gone", "rest"), [("17", (18, "udp")), ("18", (17, "tcp"))])
def test_what_one_gives_up_the_other_keeps(
    net: Lab, vipctl: Vipctl, ipvs: Gate, gone: str, rest: tuple[int, str]
) -> None:
    _share(vipctl)
    vipctl("remove-range", *HALVES, "--service", f"fwmark-{gone}")
    assert _send(net, ipvs) == _expected(VIPS, rest)
    assert _send(net, ipvs, OTHERS) == _expected(OTHERS, (17, "tcp"), (18, "udp"))
    vipctl("remove-service", f"fwmark-{gone}")
    assert _send(net, ipvs, VIPS + OTHERS) == _expected(VIPS + OTHERS, rest)
    vipctl("add-range", *RANGES, "--fwmark", gone, "--port", "sctp/9")
    assert _send(net, ipvs, VIPS + OTHERS) == _expected(VIPS + OTHERS, rest)


def test_three_services_share(net: Lab, vipctl: Vipctl, ipvs: Gate) -> None:
    _share(vipctl)
    vipctl("add-range", *HALVES, "--fwmark", "19", "--port", "tcp/53", "--port", "udp/80")
    both = _expected(VIPS, (17, "tcp"), (18, "udp"))
    assert _send(net, ipvs) == both | _expected(VIPS, (19, "tcp"), (19, "udp"))
    vipctl("remove-service", "fwmark-18")
    one = _expected(VIPS, (17, "tcp"))
    assert _send(net, ipvs) == one | _expected(VIPS, (19, "tcp"), (19, "udp"))


def test_ports_can_change_hands(net: Lab, vipctl: Vipctl, ipvs: Gate) -> None:
    _share(vipctl)
    vipctl("set-service", "fwmark-17", "--port", "tcp/53")
    vipctl("set-service", "fwmark-18", "--port", "udp/80", "--port", "tcp/80")
    assert _send(net, ipvs) == _expected(VIPS, (17, "tcp"), (18, "udp"), (18, "tcp"))


def test_other_ports_are_refused(net: Lab, vipctl: Vipctl, ipvs: Gate) -> None:
    """IPv4's unreachables have no way to the client, but where a VIP can be their source."""
    _share(vipctl)
    assert [tcp_get(net.client, vip, 53).outcome for vip in VIPS] == [Outcome.REFUSED] * 2
    udp4, udp6 = (udp_ask(net.client, vip, 80, timeout=SHORT).outcome for vip in VIPS)
    told = isinstance(vipctl, ByRoute)
    assert (udp4, udp6) == (Outcome.REFUSED if told else Outcome.TIMEOUT, Outcome.REFUSED)
    assert ipvs.seen() == {}


def test_ipvs_may_know_the_connections_of_other_ports(net: Lab, vipctl: Vipctl, ipvs: Gate) -> None:
    """Legacy tables have no place behind it, so that with them only open TCP connections come."""
    _share(vipctl)
    for vip in VIPS:
        udp_send(net.client, [vip], 80)
        assert tcp_get(net.client, vip, 53).outcome is Outcome.REFUSED
    before = {} if isinstance(vipctl, ByIptables) else _expected(VIPS, (0, "tcp"), (0, "udp"))
    assert ipvs.unmarked(*VIPS) == before
    transmit(net.client, net.director, *(tcp_ack(CLIENT[vip], vip, 53) for vip in VIPS))
    assert tcp_get(net.client, VIPS[0], 80).outcome is Outcome.REFUSED, "all before is processed"
    more = {Seen(0, "tcp", vip): before.get(Seen(0, "tcp", vip), 0) + 1 for vip in VIPS}
    assert ipvs.unmarked(*VIPS) == before | more


@pytest.mark.parametrize("shared", [False, True])
def test_all_fragments_are_with_the_port(
    net: Lab, vipctl: Vipctl, ipvs: Gate, shared: bool
) -> None:
    if shared:
        _share(vipctl)
    else:
        vipctl("add-range", *RANGES, "--fwmark", "18", "--port", "udp/53")
    for port in (53, 80):
        for vip in VIPS:
            udp_send(net.client, [vip], port, nbytes=4000)
    assert tcp_get(net.client, VIPS[0], 81).outcome is Outcome.REFUSED, "all before is processed"
    seen = ipvs.seen()
    assert {(s.mark, s.protocol, s.dst) for s in seen} == {(18, "udp", vip) for vip in VIPS}
    assert seen[Seen(18, "udp", VIPS[0])] == 1


def test_icmp_errors_are_for_ipvs_whatever_the_ports(net: Lab, vipctl: Vipctl, ipvs: Gate) -> None:
    _share(vipctl)
    errors = [need_frag(src, dst) for src, dst in zip(ROUTER, VIPS, strict=True)]
    transmit(net.client, net.director, *errors)
    assert tcp_get(net.client, VIPS[0], 81).outcome is Outcome.REFUSED, "all before is processed"
    assert {(s.protocol, s.dst) for s in ipvs.seen()} == {("icmp", VIPS[0]), ("ipv6-icmp", VIPS[1])}


def test_services_without_real_servers_are_refused_before_ipvs(
    net: Lab, vipctl: Vipctl, ipvs: Gate
) -> None:
    vipctl("add-service", "web", "--port", "tcp/80")
    assert vipctl("add-range", *RANGES, "--service", "web")["warnings"]
    vipctl("add-range", *RANGES, "--fwmark", "18", "--port", "udp/53")
    assert _send(net, ipvs) == _expected(VIPS, (18, "udp"))


@pytest.mark.parametrize(
    "options",
    [["--port", "tcp/80"], ["--port", "udp/53", "--port", "tcp/80"], []],
    ids=["same", "one of two", "all"],
)
def test_the_same_port_twice_is_refused(vipctl: Vipctl, options: list[str]) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", "--port", "tcp/80")
    before = vipctl("export")
    code, error = vipctl.error("add-range", HALVES[0], "--fwmark", "18", *options)
    assert (code, error["kind"]) == (3, "refused")
    assert "fwmark-17" in error["message"]
    assert "--port" in error["hint"]
    assert vipctl("export") == before


def test_ports_that_would_meet_are_refused(vipctl: Vipctl) -> None:
    _share(vipctl)
    before = vipctl("export")
    for port in ("udp/53", "all"):
        assert vipctl.error("set-service", "fwmark-17", "--port", port)[0] == 3
    assert vipctl("export") == before
    vipctl("remove-service", "fwmark-18")
    assert vipctl("set-service", "fwmark-17", "--port", "udp/53")["changed"] is True


@pytest.mark.parametrize("option", [["--leftover", "drop"], ["--ping"]], ids=lambda o: o[0])
def test_services_that_share_vips_treat_leftovers_and_pings_alike(
    net: Lab, vipctl: Vipctl, tmp_path: Path, option: list[str]
) -> None:
    """A leftover, and a ping, is nobody's in particular; they change together, by `apply`."""
    vipctl("add-range", *RANGES, "--fwmark", "17", "--port", "tcp/80", *option)
    words = ["add-range", HALVES[0], "--fwmark", "18", "--port", "udp/53"]
    code, error = vipctl.error(*words)
    assert code == 3
    assert option[0] in error["hint"]
    assert vipctl(*words, *option)["changed"] is True
    words = ["set-service", "fwmark-18", "--leftover", "reject", "--no-ping"]
    code, error = vipctl.error(*words)
    assert code == 3
    assert "apply" in error["hint"], "the same on the other service is refused as well"
    file = tmp_path / "state.yaml"
    text = vipctl.text("export").stdout
    file.write_text(text.replace("leftover: drop", "leftover: reject").replace("true", "false"))
    assert vipctl("apply", str(file))["changed"] is True
    assert vipctl("status")["kernel"] == "as stored"
