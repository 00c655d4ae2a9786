"""A real server fails, is removed, and comes back, as `vipctl watch` finds it; others lose nothing.

One daemon for all of it, and one client that asks without end.
"""

import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.harness.servers import TcpServer
from tests.harness.traffic import Outcome, Reply, tcp_get
from tests.harness.waiting import wait_until
from tests.vm.observe import ipvs
from vipctl.state import verdicts
from vipctl.state.directory import lock

VIP, PORT = "203.0.113.7", 8080
ONE, TWO = "10.0.1.11", "10.0.1.12"
PATIENCE = 120.0  # seconds: a guest takes ten of them to start Python
CHECK = "tcp,every=1s,timeout=1s,fall=2,rise=2"


class Client:
    """Asks one request after another, until it is closed."""

    def __init__(self, host: Namespace) -> None:
        self.replies: list[Reply] = []
        self._host, self._ended = host, threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        while not self._ended.is_set():
            self.replies.append(tcp_get(self._host, VIP, PORT))

    def next(self, number: int = 20) -> Counter[str]:
        """Who answers the next ones, that begin from now on: all of them are answered."""
        begin = len(self.replies) + 1  # one is on its way
        wait_until(lambda: len(self.replies) >= begin + number, "it has asked", PATIENCE)
        found = self.replies[begin : begin + number]
        assert [reply for reply in found if reply.outcome is not Outcome.ANSWERED] == []
        return Counter(reply.server for reply in found)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()


@contextmanager
def watching(vipctl: Vipctl, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    argv = ["ip", "netns", "exec", vipctl.host.name, *vipctl.argv, "watch"]
    with log.open("w") as stderr, subprocess.Popen(argv, stderr=stderr) as process:
        try:
            wait_until(lambda: "watching" in log.read_text(), "it watches", PATIENCE)
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE)
    Path(verdicts.path(vipctl.state_dir)).unlink(missing_ok=True)


@contextmanager
def serving(net: Lab, number: int) -> Iterator[None]:
    server = TcpServer(net.reals[number], "0.0.0.0", PORT, f"real{number + 1}")
    try:
        yield
    finally:
        server.close()


def weights(net: Lab) -> dict[str, int]:
    """Of the real servers in IPVS."""
    rows = (line.split() for line in ipvs(net.director) if line.startswith("-a"))
    return {
        row[row.index("-r") + 1].partition(":")[0]: int(row[row.index("-w") + 1]) for row in rows
    }


def wait_for(net: Lab, wanted: dict[str, int]) -> None:
    wait_until(lambda: weights(net) == wanted, f"IPVS has {wanted}", PATIENCE)


def test_a_real_server_fails_is_removed_and_comes_back(
    net: Lab, vipctl: Vipctl, tmp_path: Path
) -> None:
    options = ("--scheduler=rr", f"--port=tcp/{PORT}", f"--check={CHECK}")
    reals = (f"--real={ONE}:{PORT},weight=3", f"--real={TWO}:{PORT},weight=5")
    vipctl("add-range", VIP, "--service=web", *options, *reals)
    with serving(net, 1), watching(vipctl, tmp_path / "log"):
        with serving(net, 0):
            wait_until(lambda: _passing(vipctl) == 2, "both pass", PATIENCE)
            client = Client(net.client)
            assert client.next() == {"real1": 10, "real2": 10}
        try:
            with lock(vipctl.state_dir):  # a command at work for long
                wait_for(net, {ONE: 0, TWO: 5})
            assert client.next() == {"real2": 20}
            _assert_kept(net, vipctl, {ONE: 0, TWO: 5})
            net.director.run(["ipvsadm", "-C"])
            wait_for(net, {ONE: 0, TWO: 5})
            vipctl("set-service", "web", "--dead-after=1")
            wait_for(net, {TWO: 5})
            assert client.next() == {"real2": 20}
            _assert_kept(net, vipctl, {TWO: 5})
            with serving(net, 0):
                wait_for(net, {ONE: 3, TWO: 5})
                assert client.next()["real1"] > 0
                vipctl("drain-real", "web", ONE)
                assert weights(net) == {ONE: 0, TWO: 5}
                assert client.next() == {"real2": 20}
        finally:
            client.close()
    said = (tmp_path / "log").read_text()
    for words in (
        "is down, and gets no new clients",
        "is still down, and is removed",
        "is up again",
    ):
        assert f"web: real server {ONE}:{PORT} {words}" in said, words


def _passing(vipctl: Vipctl) -> int:
    return sum(found["state"] == "passes" for found in vipctl("list-checks")["checks"])


def _assert_kept(net: Lab, vipctl: Vipctl, wanted: dict[str, int]) -> None:
    """Commands do not heal away what checks have said, and status shows both weights."""
    assert vipctl("restore")["changed"] is False
    vipctl("set-service", "web", "--leftover=drop")
    assert weights(net) == wanted
    status = vipctl("status")
    assert status["kernel"] == "as stored"
    found = status["services"]["web"]["health"][f"{ONE}:{PORT}"]
    assert (found["state"], found["configured"], found["effective"]) == ("down", 3, wanted.get(ONE))
    vipctl("set-service", "web", "--leftover=reject")
