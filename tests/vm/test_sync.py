"""Two directors that synchronise their connections: each goes on with those of the other."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.harness.command import Vipctl, changes
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.harness.traffic import Connection
from tests.harness.waiting import wait_until
from vipctl.operate.peers import LOOSE
from vipctl.services.change import Change
from vipctl.services.sync import SYSCTLS
from vipctl.state.store import Store

VIPS, VIP = "203.0.113.0/24", "203.0.113.7"
SYNC = ("set-sync", "--interface", "peer", "--id", "7")
KEPT = "net.ipv4.vs.sync_threshold"


class Pair(NamedTuple):
    """The director of the lab, and another that reaches the real servers through it."""

    lab: Lab
    one: Vipctl
    two: Vipctl

    def through(self, gateway: str) -> None:
        """Has the client send what is for VIPs to a director."""
        self.lab.client.ip(f"route replace {VIPS} via {gateway}")


@pytest.fixture
def pair(direct: Lab, tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        other = Namespace.create("other")
        stack.callback(other.close)  # and with it, all links to it
        join(direct.client, "eth2", other, "eth0", "10.0.5")
        join(direct.director, "peer", other, "peer", "10.0.9")
        other.ip("route add default via 10.0.9.1")
        other.sysctl("net.ipv4.ip_forward", 1)
        directors = direct.director, other
        one, two = (Vipctl(d, tmp_path / str(n)) for n, d in enumerate(directors))
        for vipctl in (one, two):
            words = ("--service", "web", "--forward", "tun", "--port", "tcp/80")
            vipctl("add-range", VIPS, *words, "--real", direct.real4(0), "--scheduler", "mh,port")
            stack.callback(vipctl, "remove-service", "web")
            stack.callback(vipctl, "remove-sync")
        found = Pair(direct, one, two)
        found.through("10.0.0.1")
        stack.callback(direct.client.ip, f"route del {VIPS}")
        yield found


def join(one: Namespace, name: str, two: Namespace, there: str, net: str) -> None:
    """By a link of two hosts, on which they are .1 and .2."""
    one.ip(f"link add {name} type veth peer name {there} netns {two.name}")
    one.ip(f"link set {name} up", f"address add {net}.1/24 dev {name}")
    two.ip(f"link set {there} up", f"address add {net}.2/24 dev {there}")


def daemons(host: Namespace) -> list[str]:
    """As another tool sees them."""
    found = host.run(["ipvsadm", "-L", "--daemon"]).stdout.splitlines()
    return [line.partition(",")[0] + ", " + line.split(", ")[1].rstrip(")") for line in found]


def knows(host: Namespace, connection: Connection) -> bool:
    port = f"{connection.socket.getsockname()[1]:04X}"
    return any(line.split()[2] == port for line in host.proc_net("ip_vs_conn").splitlines()[1:])


BOTH = ["master sync daemon (mcast=peer, syncid=7", "backup sync daemon (mcast=peer, syncid=7"]


def test_a_connection_goes_on_with_either_director(pair: Pair) -> None:
    one, two = pair.one.host, pair.two.host
    before = one.sysctl(KEPT)
    assert pair.one("--check", *SYNC)["changed"]
    assert daemons(one) == []
    for vipctl in (pair.one, pair.two):
        done = vipctl(*SYNC)
        assert changes(done) == ["connection sync: none → peer, id 7"]
        assert any("--sloppy-tcp" in warning for warning in done["warnings"])
        assert not vipctl(*SYNC)["changed"]
        assert daemons(vipctl.host) == BOTH
        assert {n: " ".join(vipctl.host.sysctl(n).split()) for n in SYSCTLS} == SYSCTLS
    status = pair.one("status")
    assert status["kernel"] == "as stored"
    assert status["sync"] == {"interface": "peer", "id": 7, "master": True, "backup": True}
    assert status["digest"] == pair.two("status")["digest"]

    pair.through("10.0.0.1")
    with Connection(pair.lab.client, VIP, 80) as connection:
        assert connection.ask().answered
        wait_until(lambda: knows(two, connection), "the other director hears of it")
        pair.through("10.0.5.2")
        assert connection.ask().answered
        pair.through("10.0.0.1")
        assert connection.ask().answered

    # What others do to it is put back, by the next command and by restore.
    one.run(["ipvsadm", "--stop-daemon", "master"])
    status = pair.one("status")
    assert (status["kernel"], status["sync"]["master"]) == ("differs", False)
    assert pair.one("set-service", "web", "--ping")["restored"]
    assert daemons(one) == BOTH
    one.run(["ipvsadm", "--stop-daemon", "backup"])
    one.run(["ipvsadm", "--start-daemon", "backup", "--mcast-interface", "lo"])
    one.sysctl(KEPT, "3 50")
    assert pair.one("restore")["restored"]
    assert daemons(one) == BOTH
    assert one.sysctl(KEPT).split() == ["2", "0"]

    # What connections would not survive is said.
    one.sysctl(LOOSE, 0)
    assert any(LOOSE in finding for finding in pair.one("status")["findings"])
    one.sysctl(LOOSE, 1)
    pair.one("set-director", "--sloppy-tcp", "yes")
    assert not any("sloppy" in finding for finding in pair.one("status")["findings"])
    pair.one("set-director", "--sloppy-tcp", "default")

    # A command that was killed after it had decided to end it, and before it did.
    with one, Store.open(pair.one.state_dir) as store:
        store.begin(Change(sync=(store.sync(), None)), (), store.sysctls())
    assert pair.one("set-service", "web", "--no-ping")["restored"]
    assert daemons(one) == []
    pair.one(*SYNC)

    # Another id: both begin anew. In the end all is as before.
    assert pair.one("set-sync", "--interface", "peer", "--id", "8")["changed"]
    assert [line[-1] for line in daemons(one)] == ["8", "8"]
    assert pair.one("status")["digest"] != pair.two("status")["digest"]
    assert pair.one("remove-sync")["changed"]
    assert daemons(one) == []
    assert one.sysctl(KEPT) == before
    assert pair.one("status")["sync"] is None


def test_what_stands_in_the_way_changes_nothing(pair: Pair) -> None:
    one = pair.one.host
    before = one.sysctl(KEPT)
    one.run(["ipvsadm", "--start-daemon", "master", "--mcast-interface", "lo", "--syncid", "3"])
    code, refused = pair.one.error(*SYNC)
    assert code == 3
    assert "a sync daemon that is not vipctl's (master on lo, id 3)" in refused["message"]
    assert daemons(one) == ["master sync daemon (mcast=lo, syncid=3"]
    one.run(["ipvsadm", "--stop-daemon", "master"])

    # The kernel refuses the daemons beside a real server of another family.
    pair.one("add-real", "web", f"{pair.lab.real4(1)},family=both")
    code, failed = pair.one.error(*SYNC)
    assert code == 4
    assert "family=both" in failed["hint"]
    assert (daemons(one), one.sysctl(KEPT)) == ([], before)
    assert pair.one("status")["sync"] is None
    assert pair.one("status")["kernel"] == "as stored"
    pair.one("remove-real", "web", pair.lab.real4(1))

    # An interface that is gone keeps nobody from the rest.
    assert pair.one(*SYNC)["changed"]
    one.run(["ipvsadm", "--stop-daemon", "master"])
    one.ip("link set peer down", "link set peer name away")
    status = pair.one("status")
    assert status["kernel"] == "differs"
    done = pair.one("set-service", "web", "--leftover", "drop")
    assert any("connections are not synchronised" in warning for warning in done["warnings"])
    one.ip("link set away name peer", "link set peer up")
    assert pair.one("restore")["restored"]
    assert daemons(one) == BOTH


def test_daemons_are_begun_again_on_an_interface_that_was_made_again(pair: Pair) -> None:
    """They stay with the one of before, whatever has its name; ipvsadm shows nothing of that."""
    one, two = pair.one.host, pair.two.host
    for vipctl in (pair.one, pair.two):
        vipctl(*SYNC)
    one.ip("link del peer")
    join(one, "peer", two, "peer", "10.0.9")
    two.ip("route add default via 10.0.9.1")
    for vipctl in (pair.one, pair.two):
        assert daemons(vipctl.host) == BOTH
        status = vipctl("status")
        assert status["kernel"] == "differs"
        assert status["sync"] == {"interface": "peer", "id": 7, "master": False, "backup": False}
        assert vipctl("restore")["restored"]
        assert daemons(vipctl.host) == BOTH
        assert vipctl("status")["kernel"] == "as stored"
    with Connection(pair.lab.client, VIP, 80) as connection:
        assert connection.ask().answered
        wait_until(lambda: knows(two, connection), "the other director hears of it")

    # A link that was down needs nothing.
    one.ip("link set peer down", "link set peer up")
    assert pair.one("status")["kernel"] == "as stored"
    with Connection(pair.lab.client, VIP, 80) as connection:
        assert connection.ask().answered
        wait_until(lambda: knows(two, connection), "the other director hears of it")
