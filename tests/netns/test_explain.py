"""`explain` names the cause that there is, and no other; on a whole director it names none.

This kernel has no IPVS, which `explain` names wherever IPVS is needed: that cause is always there.
"""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.servers import WebServer, stand_in
from tests.harness.command import Vipctl
from tests.harness.lab import Lab, lab
from tests.harness.traffic import Outcome, tcp_get
from tests.netns import snapshot
from tests.netns.ailments import AILMENTS, ANYBODY, BY_VERSION, METHODS, TPROXY, Ailment, words
from tests.netns.firewalls import FIREWALLS
from tests.netns.route import BeforeIpvs
from tests.netns.stored import balance
from vipctl.diagnosis.causes import CAUSES, RESTORE
from vipctl.health.verdicts import NONE, OfService, State, Verdict, Verdicts
from vipctl.linux import listeners
from vipctl.state import verdicts

NO_IPVS = "no-ipvs"
SHORT = 0.3  # seconds
PROXY = ("--to-port", "8080")
ELSEWHERE = {"conntrack-full", "weights-altered", "scheduler-missing"}
ELSEWHERE |= {"ipvs-service-missing", "ipvs-real-missing"}  # tests/vm/test_explain.py
RANGES = [found["range"] for found in BY_VERSION.values()]
CASES = [(ailment, method) for ailment in AILMENTS for method in ailment.methods]


@contextmanager
def site(directory: Path, method: str, ailment: Ailment) -> Iterator[tuple[Lab, Vipctl]]:
    """A director that nothing ails but what is stored: its default route leads to the client."""
    with lab(reals=0) as net:
        net.director.ip("route add default via 10.0.0.2", "route add ::/0 via fd00::2")
        vipctl = Vipctl(net.director, directory / "state")
        more = PROXY if method == TPROXY else ()
        first = "fwmark" if method == "shim" else method
        vipctl("add-range", *RANGES, "--service", "web", "--method", first, *more)
        if method != TPROXY:
            balance(vipctl, method, ailment.reals, ailment.forward, ailment.scheduler)
        elif ailment.proxy:
            for bind in ("0.0.0.0", "::"):
                stand_in(WebServer(net.director, bind, 8080, "proxy").socket)
        yield net, vipctl


def explained(vipctl: Vipctl, version: int, asked: str = "") -> dict[str, Any]:
    """What `explain` says of a VIP; its exit code says whether there is a cause."""
    vip = BY_VERSION[version]["vip"]
    done = vipctl.text("--json", "explain", vip, "tcp/80", *asked.split())
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.code == (3 if found["causes"] else 0), done
    ill = [step for step in found["steps"] if step["state"] == "cause"]
    assert all(step["cause"] in CAUSES and step["fix"] for step in ill)
    assert {step["cause"] for step in ill} == set(found["causes"])
    if RESTORE in [step["fix"] for step in ill]:
        assert RESTORE not in [hint["fix"] for hint in found["hints"]], "what cures is told once"
    return found


def causes(vipctl: Vipctl, version: int, asked: str = "") -> set[str]:
    """Those named, without the one that is always there."""
    return set(explained(vipctl, version, asked)["causes"]) - {NO_IPVS}


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


def test_a_connection_is_no_listener(net: Lab) -> None:
    with net.director:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert (listeners.on_port(4, port), listeners.on_port(6, port)) == (True, False)
        with socket.create_connection(("127.0.0.1", port)), listener.accept()[0]:
            listener.close()
            assert not listeners.on_port(4, port)


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


@pytest.mark.parametrize("method", METHODS)
def test_an_address_of_the_director_is_a_vip_all_the_same(tmp_path: Path, method: str) -> None:
    """Its packets come to where IPVS, or the proxy, takes them."""
    with site(tmp_path, method, Ailment("")) as (net, vipctl):
        for version, found in BY_VERSION.items():
            net.director.ip(f"address add {found['vip']} dev eth1{' nodad' * (version == 6)}")
            told = explained(vipctl, version)
            assert (set(told["causes"]) - {NO_IPVS}, ids(told)) == (set(), ["vip-is-own-address"])
            if method == TPROXY:
                assert tcp_get(net.client, found["vip"], 80).answered
                continue
            with BeforeIpvs(net.director) as counter:
                tcp_get(net.client, found["vip"], 80, timeout=SHORT)
                assert counter.count(0x1000, found["vip"])


def test_a_firewall_that_asks_what_is_local(tmp_path: Path) -> None:
    """By route, VIPs are, but for the first of an IPv6 prefix, which is anycast to nftables."""
    with site(tmp_path, "route", Ailment("")) as (net, vipctl):
        FIREWALLS["ufw"].load(net.director)
        found = {}
        with BeforeIpvs(net.director) as counter:
            for vip in ("203.0.113.0", "203.0.113.255", "2001:db8:1::", "2001:db8:1::1"):
                tcp_get(net.client, vip, 80, timeout=SHORT)
                told = json.loads(vipctl.text("--json", "explain", vip, "tcp/80").stdout)
                found[vip] = "firewall-input" not in told["causes"], counter.count(0x1000, vip) > 0
        assert {vip for vip, both in found.items() if both == (False, False)} == {"2001:db8:1::"}
        assert sum(both == (True, True) for both in found.values()) == 3


def test_an_address_of_the_director_is_local_to_a_firewall(tmp_path: Path) -> None:
    with site(tmp_path, "fwmark", Ailment("")) as (net, vipctl):
        FIREWALLS["ufw"].load(net.director)
        assert causes(vipctl, 4) == {"firewall-input"}
        net.director.ip("address add 203.0.113.7 dev eth1")
        assert causes(vipctl, 4) == set()
        with BeforeIpvs(net.director) as counter:
            tcp_get(net.client, "203.0.113.7", 80, timeout=SHORT)
            assert counter.count(0x1000, "203.0.113.7")


def ids(found: dict[str, Any]) -> list[str]:
    return [hint["id"] for hint in found["hints"]]


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
