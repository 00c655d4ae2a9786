"""`explain --watch`: where a real packet ended; what it takes for that is gone afterwards."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.harness.running import running
from tests.harness.traffic import tcp_get
from tests.harness.waiting import wait_until
from tests.netns import snapshot
from tests.netns.ailments import BY_VERSION, TPROXY, Ailment
from tests.netns.explaining import site
from tests.netns.firewalls import FIREWALLS

LONG, SHORT = "60s", "0.3s"
CLIENTS = {4: "10.0.0.2", 6: "fd00::2"}
TABLE = ["nft", "list", "table", "inet", "vipctl_trace"]
BLACKHOLE = {4: "203.0.113.0/24", 6: "2001:db8:1::/64"}


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[tuple[Lab, Vipctl]]:
    with site(tmp_path, "fwmark", Ailment("")) as found:
        yield found


def is_watching(director: Namespace) -> bool:
    return director.run(TABLE, check=False).returncode == 0


@contextmanager
def asking(net: Lab, version: int) -> Iterator[None]:
    """Have the client ask as soon as the director watches, if it ever does."""

    def ask() -> None:
        wait_until(lambda: is_watching(net.director), "it watches")
        tcp_get(net.client, BY_VERSION[version]["vip"], 80, CLIENTS[version], timeout=0.5)

    thread = Thread(target=ask)
    thread.start()
    yield
    thread.join()


def step(vipctl: Vipctl, version: int, *words: str, patience: str = LONG) -> dict[str, Any]:
    """What is said of the packet."""
    vip = BY_VERSION[version]["vip"]
    done = vipctl.text("--json", "explain", vip, "tcp/80", f"--watch={patience}", *words)
    (found,) = (s for s in json.loads(done.stdout)["steps"] if s["name"] == "watch")
    return dict(found)


def watched(net: Lab, vipctl: Vipctl, version: int, *words: str) -> dict[str, Any]:
    with asking(net, version):
        return step(vipctl, version, *words)


def blackhole(net: Lab) -> None:
    for version, prefix in BLACKHOLE.items():
        words = f"ip -{version} rule add pref 100 to {prefix} blackhole"
        net.director.run(words.split())


def lead_away(net: Lab) -> None:
    for version, gateway in (("-4", "10.0.0.2"), ("-6", "fd00::2")):
        for words in (f"route add default via {gateway} table 99", "rule add pref 100 lookup 99"):
            net.director.run(["ip", version, *words.split()])


def firewall(name: str) -> Callable[[Lab], None]:
    return lambda net: FIREWALLS[name].load(net.director)


def nothing(_: Lab) -> None:
    """This kernel has no IPVS."""


DROPPED, ELSEWHERE = "packet-dropped", "packet-led-elsewhere"
ENDS = {
    "by a rule": (firewall("all but the port"), DROPPED, "of chain inet mine in dropped it"),
    "by a policy": (
        firewall("nothing but a policy"), DROPPED, "the policy of chain inet mine in dropped it",
    ),
    "by legacy rules": (
        firewall("iptables-legacy, other ports"), DROPPED, "something but nftables dropped it",
    ),
    "by routing": (blackhole, DROPPED, "routing dropped it"),
    "elsewhere": (lead_away, ELSEWHERE, "led elsewhere by eth0"),
    "at the guard": (nothing, DROPPED, "vipctl refused it: IPVS did not take it"),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_where_a_packet_ended(whole: tuple[Lab, Vipctl], name: str) -> None:
    (net, vipctl), (make, cause, says) = whole, ENDS[name]
    make(net)
    before = snapshot.kernel(net.director)
    for version in CLIENTS:
        found = watched(net, vipctl, version)
        assert (found["state"], found["cause"]) == ("cause", cause)
        assert says in found["says"]
    assert snapshot.kernel(net.director) == before


def test_the_client_and_its_interface_may_be_named(whole: tuple[Lab, Vipctl]) -> None:
    net, vipctl = whole
    for version, client in CLIENTS.items():
        found = watched(net, vipctl, version, f"--from={client}", "--in=eth0")
        assert found["cause"] == DROPPED
        with asking(net, version):
            found = step(vipctl, version, f"--from={client}", "--in=eth1", patience="2s")
        assert (found["state"], found["cause"]) == ("unknown", None)


def test_a_packet_for_a_proxy_comes_to_a_socket(tmp_path: Path) -> None:
    with site(tmp_path, TPROXY, Ailment("")) as (net, vipctl):
        for version in CLIENTS:
            assert watched(net, vipctl, version)["state"] == "well"


def test_nobody_asks(whole: tuple[Lab, Vipctl]) -> None:
    _, vipctl = whole
    for version in CLIENTS:
        found = step(vipctl, version, patience=SHORT)
        assert (found["state"], found["cause"]) == ("unknown", None)
    found = step(vipctl, 4, "--from=10.0.0.1", patience=SHORT)
    assert "not watched" in found["says"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_is_gone_however_it_ends(whole: tuple[Lab, Vipctl], how: signal.Signals) -> None:
    net, vipctl = whole
    before = snapshot.kernel(net.director)
    words = [*vipctl.argv, "explain", "203.0.113.7", "tcp/80", "--watch", LONG]
    argv = ["ip", "netns", "exec", net.director.name, *words]
    with running(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: is_watching(net.director), "it watches")
        listed = net.director.run(TABLE).stdout
        assert "flags owner" in listed
        assert "limit rate 5/second" in listed
        process.send_signal(how)
        assert process.wait(30) == (-how if how is signal.SIGKILL else 1)
        wait_until(lambda: not is_watching(net.director), "the kernel has removed the table")
        assert snapshot.kernel(net.director) == before


@pytest.mark.parametrize("time", ["0", "61s", "soon"])
def test_how_long_is_limited(whole: tuple[Lab, Vipctl], time: str) -> None:
    assert whole[1].error("explain", "203.0.113.7", f"--watch={time}")[0] == 2
