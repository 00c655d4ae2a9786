"""`explain` names the cause that there is, and no other; on a whole director it names none.

This kernel has no IPVS, which `explain` names wherever IPVS is needed: that cause is always there.
"""

import json
import time
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import Outcome, tcp_get
from tests.netns import snapshot
from tests.netns.ailments import (
    AILMENTS,
    ANYBODY,
    BY_VERSION,
    FAR,
    METHODS,
    TPROXY,
    Ailment,
    words,
)
from tests.netns.explaining import NO_IPVS, RANGES, causes, explained, site
from vipctl.diagnosis.causes import CAUSES, RESTORE
from vipctl.health.verdicts import NONE, OfService, State, Verdict, Verdicts
from vipctl.state import verdicts

ELSEWHERE = {"conntrack-full", "weights-altered", "scheduler-missing"}
ELSEWHERE |= {
    "ipvs-service-missing",
    "ipvs-real-missing",
    "real-lacks-vip",
}  # tests/vm/test_explain.py
CASES = [(ailment, method) for ailment in AILMENTS for method in ailment.methods]


def make(net: Lab, vipctl: Vipctl, ailment: Ailment, method: str) -> None:
    """Ail the director as somebody would."""
    for one in ailment.make:
        if callable(one):
            one(net.director)
            continue
        lines = dict.fromkeys(words(one, method, version) for version in ailment.ask)
        for line in lines:
            first, *rest = line.split()
            if first == "vipctl":
                vipctl(*rest)
            else:
                net.director.run(["sh", "-ec", line])


@pytest.mark.parametrize(
    ("ailment", "method"),
    CASES,
    ids=[f"{ailment.cause}-{method}-{n}" for n, (ailment, method) in enumerate(CASES)],
)
def test_the_cause_is_named_and_no_other(tmp_path: Path, ailment: Ailment, method: str) -> None:
    with site(tmp_path, method, ailment) as (net, vipctl):
        make(net, vipctl, ailment, method)
        before = snapshot.kernel(net.director), snapshot.directory(vipctl.state_dir)
        for version, asked in ailment.ask.items():
            assert causes(vipctl, version, asked) == {ailment.cause}, f"IPv{version}"
        assert (snapshot.kernel(net.director), snapshot.directory(vipctl.state_dir)) == before


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("forward", ["nat", "dr", "tun"])
def test_nothing_ails_a_whole_director(tmp_path: Path, method: str, forward: str) -> None:
    with site(tmp_path, method, Ailment("", forward=forward)) as (_, vipctl):
        for version in ANYBODY:
            found = explained(vipctl, version)
            assert found["causes"] == ([] if method == TPROXY else [NO_IPVS])
            assert found["hints"] == []
            assert found["service"] == "web"
            assert found["device"] == "eth0"


def test_every_cause_is_made_somewhere() -> None:
    made = {ailment.cause for ailment in AILMENTS} | ELSEWHERE | {NO_IPVS, "all-failed"}
    made |= {"real-not-answering", "no-way-back"}  # test_explain_probe.py
    made |= {"packet-dropped", "packet-led-elsewhere"}  # test_explain_watch.py
    assert made == set(CAUSES)


def test_health_checks_that_leave_no_weight(tmp_path: Path) -> None:
    with site(tmp_path, "fwmark", Ailment("")) as (net, vipctl):
        assert vipctl.text("set-service", "web", "--check", "tcp:80").code == 0
        failed = Verdict(State.DOWN, share=0)
        reals = dict.fromkeys(("10.0.1.11", "10.0.1.12", "fd00:1::11"), failed)
        with net.director:
            verdicts.write(vipctl.state_dir, Verdicts({"web": OfService(0x1000, reals)}))
            try:
                found = [causes(vipctl, version) for version in ANYBODY]
            finally:
                verdicts.write(vipctl.state_dir, NONE)
        assert found == [{"all-failed"}, set()]


def test_somebody_elses_ipvs_is_asked_for(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    assert [explained(vipctl, version)["causes"] for version in ANYBODY] == [[NO_IPVS]] * 2


def test_a_service_with_the_port_is_looked_at(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", "--port", "tcp/443")
    vipctl("add-range", *RANGES, "--fwmark", "18", "--port", "tcp/70-90")
    assert explained(vipctl, 4)["service"] == "fwmark-18"
    usual = json.loads(vipctl.text("--json", "explain", "203.0.113.7").stdout)
    assert (usual["service"], usual["port"]) == ("fwmark-17", "tcp/443")


HARMLESS = [
    "ip rule del pref 4300",
    "ip -6 rule del pref 4301",
    "ip -6 route flush table 30320",
    "ip -4 route replace local default dev eth0 table 30320 proto 118",
]


@pytest.mark.parametrize("damage", HARMLESS)
def test_what_does_no_harm_is_a_hint(tmp_path: Path, damage: str) -> None:
    with site(tmp_path, "fwmark", Ailment("")) as (net, vipctl):
        net.director.run(damage.split())
        found = explained(vipctl, 4)
        assert found["causes"] == [NO_IPVS]
        assert {one["id"] for one in found["hints"]} == {"not-as-stored"}
        assert {s["state"] for s in found["steps"] if s["name"] == "acceptance"} == {"well"}


AROUND = (
    "link add veth7 type veth peer name veth8",
    "link set veth7 up",
    "address add 10.9.9.1/24 dev veth7",
    "address add fd09::1/64 dev veth7 nodad",
    f"route add {FAR[0]} via 10.0.1.11 dev eth1",
    f"route add {FAR[1]} via fd00:1::11 dev eth1",
)


def test_a_network_that_is_down_is_no_cause_where_a_route_leads_around(tmp_path: Path) -> None:
    with site(tmp_path, "fwmark", Ailment("", reals=FAR)) as (net, vipctl):
        net.director.ip(*AROUND[:-2])
        assert [causes(vipctl, version) for version in ANYBODY] == [{"link-down"}] * 2
        net.director.ip(*AROUND[-2:])
        assert [causes(vipctl, version) for version in ANYBODY] == [set(), set()]


ANEW = 'was=$(nft list table inet vipctl); nft delete table inet vipctl; echo "$was" | nft -f -'


@pytest.mark.parametrize("damage", [ANEW, "nft insert rule inet vipctl leftover accept"])
def test_what_may_do_harm_is_told_and_no_cause(tmp_path: Path, damage: str) -> None:
    with site(tmp_path, "fwmark", Ailment("")) as (net, vipctl):
        net.director.run(["sh", "-ec", damage])
        found = explained(vipctl, 4)
        assert found["causes"] == [NO_IPVS]
        (step,) = [step for step in found["steps"] if step["name"] == "acceptance"]
        assert step["state"] == "unknown"
        assert step["fix"] == RESTORE


SETTINGS = ["net.ipv4.conf.all.src_valid_mark=1", "net.ipv4.conf.all.rp_filter=1"]


@pytest.mark.parametrize("method", METHODS)
def test_strict_validation_refuses_nobody_who_comes_the_right_way(
    tmp_path: Path, method: str
) -> None:
    with site(tmp_path, method, Ailment("")) as (net, vipctl):
        net.director.run(["sysctl", "-w", *SETTINGS])
        assert causes(vipctl, 4) == set()


def test_clients_beside_real_servers_may_be_translated(tmp_path: Path) -> None:
    with site(tmp_path, "fwmark", Ailment("")) as (_, vipctl):
        assert vipctl.text("set-service", "web", "--source-nat", "auto").code == 0
        assert causes(vipctl, 4, "--from 10.0.1.50") == set()


def test_a_tunnel_of_less_room_is_no_cause(tmp_path: Path) -> None:
    """And no hint where the kernel has no IPVS, which would refuse large packets."""
    with site(tmp_path, "fwmark", Ailment("", forward="tun")) as (net, vipctl):
        net.director.ip("link set eth1 mtu 1400")
        assert explained(vipctl, 4)["hints"] == []


def test_the_director_itself_may_ask(tmp_path: Path) -> None:
    with site(tmp_path, "fwmark", Ailment("")) as (_, vipctl):
        found = explained(vipctl, 4, "--from 10.0.0.1")
        assert (found["causes"], found["device"]) == ([NO_IPVS], None)
        assert not [step for step in found["steps"] if step["name"] in ("routing", "answer")]


def test_what_is_told_of_the_client_is_what_happens(tmp_path: Path) -> None:
    """By tproxy, with a proxy that answers: no cause, and an answer; a cause, and none."""
    with site(tmp_path, TPROXY, Ailment("")) as (net, vipctl):
        for damage in ("true", "ip rule del pref 4321", "ip -6 route flush table 30322"):
            net.director.run(["sh", "-ec", damage])
            for version, found in BY_VERSION.items():
                reply = tcp_get(net.client, found["vip"], 80, timeout=0.3)
                assert (reply.outcome is Outcome.ANSWERED) == (not causes(vipctl, version)), damage


def test_what_cannot_be_asked_is_refused(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    for rest, code in (
        (("203.0.113.0/24",), 2),
        (("203.0.113.7", "tcp/80-90"), 2),
        (("203.0.113.7", "icmp"), 2),
        (("203.0.113.7", "--from", "fd00::2"), 2),
        (("203.0.113.7", "--in", "eth9"), 2),
        (("203.0.113.7", "--in", "lo"), 3),
    ):
        assert vipctl.error("explain", *rest)[0] == code, rest


def test_people_get_a_numbered_list(tmp_path: Path) -> None:
    with site(tmp_path, "fwmark", Ailment("")) as (net, vipctl):
        net.director.ip("rule del pref 4301")
        text = vipctl.text("explain", "203.0.113.7").stdout
    (line,) = [number for number, text in enumerate(text.splitlines()) if "[rule-gone]" in text]
    asked, shown, cure = text.splitlines()[line : line + 3]
    assert asked.startswith("  5 ✗ vipctl's rule is gone: ip -4 rule pref 4301")
    assert shown.startswith("      $ ip route get 203.0.113.7 from 1.2.3.4 iif eth0 mark 0x1000 ")
    assert cure == "      → vipctl restore"
    assert text.splitlines()[-1] == f"cause: rule-gone, {NO_IPVS} (docs/explain.md)"


def test_its_time_does_not_grow_with_the_vips(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    ranges = tmp_path / "ranges"
    ranges.write_text(
        "".join(f"10.{n >> 15}.{n >> 7 & 255}.{n % 128 * 2}\n" for n in range(1 << 17))
    )
    vipctl("add-range", f"@{ranges}", *RANGES, "--fwmark", "17")
    before = time.thread_time()
    assert explained(vipctl, 4)["causes"] == [NO_IPVS]
    assert time.thread_time() - before < 0.2


def test_a_client_that_nobody_names_is_not_beside_real_servers(tmp_path: Path) -> None:
    """Without a default route it is a neighbour, of an interface that they are not on."""
    with site(tmp_path, "fwmark", Ailment("")) as (net, vipctl):
        net.director.ip("route del default", "route del ::/0")
        for version in ANYBODY:
            found = explained(vipctl, version)
            assert (found["causes"], found["device"]) == ([NO_IPVS], "eth0")
