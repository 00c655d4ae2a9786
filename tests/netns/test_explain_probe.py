"""`explain --probe`: what real servers answer decides what cannot be told from the director.

Here by nat: what goes through IPVS is asked in tests/vm/test_explain_probe.py.
"""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab, lab
from tests.harness.netns import Namespace
from tests.harness.servers import TcpServer, UdpServer
from tests.harness.waiting import wait_until
from tests.netns import snapshot
from tests.netns.explaining import NO_IPVS, RANGES
from tests.netns.stored import balance
from vipctl.diagnosis import probes

REALS = ("10.0.1.11", "10.0.1.12", "fd00:1::11", "fd00:1::12")
ASKED = {4: ("203.0.113.7", "10.0.0.2"), 6: ("2001:db8:1::7", "fd00::2")}
COUNTING = """table inet counting {
    counter got {}
    chain in { type filter hook input priority 0; %s counter name got; }
}"""
FROM_DIRECTOR = "ip saddr { 10.0.0.1, 10.0.1.1 }"
MOST = 12  # packets for a real server: two connections, begun and reset, and two echo requests
DROPPING = "table inet mine { chain in { type filter hook input priority 0; tcp %s drop; }; }"


@pytest.fixture
def net() -> Iterator[Lab]:
    with lab() as built:
        built.director.ip("route add default via 10.0.0.2", "route add ::/0 via fd00::2")
        yield built


@pytest.fixture
def vipctl(net: Lab, tmp_path: Path) -> Vipctl:
    """Two real servers of each IP version, which serve."""
    found = Vipctl(net.director, tmp_path / "state")
    found("add-range", *RANGES, "--service", "web", "--method", "fwmark")
    balance(found, "fwmark", REALS, "nat", "wlc")
    for real in net.reals:
        serve(real)
    return found


def serve(real: Namespace, port: int = 80) -> None:
    for bind in ("0.0.0.0", "::"):
        TcpServer(real, bind, port, "real")


def explained(vipctl: Vipctl, version: int, *more: str, port: str = "tcp/80") -> dict[str, Any]:
    vip, client = ASKED[version]
    done = vipctl.text("--json", "explain", vip, port, "--from", client, *more)
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.code == 3, "this kernel has no IPVS"
    return found


def causes(vipctl: Vipctl, *more: str) -> list[set[str]]:
    """Of both IP versions."""
    return [set(explained(vipctl, v, "--probe", *more)["causes"]) - {NO_IPVS} for v in ASKED]


def state(found: dict[str, Any], real: str) -> str:
    (step,) = (step for step in found["steps"] if step["name"] == f"probe {real}")
    return str(step["state"])


def test_nothing_is_left_to_be_told(net: Lab, vipctl: Vipctl) -> None:
    for version in ASKED:
        before = {step["name"] for step in explained(vipctl, version)["steps"]}
        found = explained(vipctl, version, "--probe")
        assert "answer" in before
        assert (found["causes"], found["hints"]) == ([NO_IPVS], [])
        assert {step["state"] for step in found["steps"]} == {"well", "cause"}


def test_it_sends_a_few_packets_and_nothing_without_being_asked(net: Lab, vipctl: Vipctl) -> None:
    for real in net.reals:
        real.run(["nft", "-f", "-"], input=COUNTING % FROM_DIRECTOR)
    before = snapshot.kernel(net.director), snapshot.directory(vipctl.state_dir)
    explained(vipctl, 4)
    assert [_got(real) for real in net.reals] == [0, 0]
    explained(vipctl, 4, "--probe")
    assert all(0 < _got(real) <= MOST for real in net.reals)
    assert (snapshot.kernel(net.director), snapshot.directory(vipctl.state_dir)) == before
    with net.director:
        assert Path("/proc/thread-self/net/raw").read_text().count("\n") == 1
        assert Path("/proc/thread-self/net/tcp").read_text().count("\n") == 1


def _got(real: Namespace) -> int:
    listed = real.run(["nft", "-j", "list", "counter", "inet", "counting", "got"]).stdout
    (found,) = (one["counter"] for one in json.loads(listed)["nftables"] if "counter" in one)
    packets: int = found["packets"]
    return packets


def test_a_real_server_that_refuses_or_is_silent(net: Lab, vipctl: Vipctl) -> None:
    assert causes(vipctl) == [set(), set()]
    for rule in ("reject with tcp reset", "drop"):
        text = DROPPING.replace("drop", rule) % "dport 80"
        net.reals[0].run(["nft", "-f", "-"], input=text)
        assert causes(vipctl) == [{"real-not-answering"}] * 2
        found = explained(vipctl, 4, "--probe")
        assert [state(found, real) for real in REALS[:2]] == ["cause", "well"]
        (says,) = (s["says"] for s in found["steps"] if s["cause"] == "real-not-answering")
        assert says.endswith("; it answers echo requests")
        net.reals[0].run(["nft", "delete", "table", "inet", "mine"])


def test_a_host_that_is_away_is_asked_no_more_than_once(net: Lab, vipctl: Vipctl) -> None:
    net.reals[0].ip("link set eth0 down")
    assert causes(vipctl) == [{"real-not-answering"}] * 2

    def missed() -> bool:
        return causes(vipctl) == [{"neighbour-failed"}] * 2

    wait_until(missed, "the kernel has given it up")
    found = explained(vipctl, 4, "--probe")
    assert f"probe {REALS[0]}" not in {step["name"] for step in found["steps"]}


def test_a_way_back_that_does_not_lead_through_the_director(net: Lab, vipctl: Vipctl) -> None:
    """It ends at the director all the same, as the client is a router: by another interface."""
    for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        net.client.sysctl(name, 1)
    net.reals[1].ip("route replace default via 10.0.1.254", "route replace ::/0 via fd00:1::fe")
    assert causes(vipctl) == [{"no-way-back"}] * 2
    assert vipctl.text("set-service", "web", "--source-nat", "auto").code in (0, 5)
    assert causes(vipctl) == [set(), set()]


def test_what_the_directors_own_firewall_may_drop_is_no_cause(net: Lab, vipctl: Vipctl) -> None:
    net.director.run(["nft", "-f", "-"], input=DROPPING % "sport 80")
    assert causes(vipctl) == [set(), set()]
    assert state(explained(vipctl, 4, "--probe"), REALS[0]) == "unknown"


def test_less_room_on_the_way_is_a_hint(net: Lab, vipctl: Vipctl) -> None:
    net.reals[0].ip("link set eth0 mtu 1300")
    for version in ASKED:
        found = explained(vipctl, version, "--probe")
        assert found["causes"] == [NO_IPVS]
        assert [hint["id"] for hint in found["hints"]] == ["path-mtu"]


def test_datagrams_need_a_check_that_says_what_to_send(net: Lab, vipctl: Vipctl) -> None:
    found = explained(vipctl, 4, "--probe", port="udp/53")
    assert state(found, REALS[0]) == "unknown"
    assert vipctl.text("set-service", "web", "--check", "udp:53,send=00").code in (0, 5)
    UdpServer(net.reals[0], "0.0.0.0", 53, "real")
    found = explained(vipctl, 4, "--probe", port="udp/53")
    assert [state(found, real) for real in REALS[:2]] == ["well", "cause"]


def test_a_signal_ends_it_as_ctrl_c_does(
    net: Lab, vipctl: Vipctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asked(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(60)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(probes, "_ask", asked)
    done = vipctl.text("explain", *ASKED[4][:1], "tcp/80", "--from", ASKED[4][1], "--probe")
    assert (done.code, "interrupted" in done.stderr) == (1, True)
    assert signal.getsignal(signal.SIGTERM) is before
