"""A service goes from one method to another, and a running flow does not notice.

The flow is of real packets, 1,000 a second, each counted where IPVS would see it: that it is still
for the VIP there, has the service's mark, and was not refused. tests/vm/test_switch.py does the
same with IPVS.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path

import pytest

from tests.harness.command import Vipctl, changes
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.harness.waiting import wait_until
from tests.netns import snapshot
from tests.netns.arrivals import settle
from tests.netns.route import BeforeIpvs
from vipctl.methods import NAMES

METHODS = [name for name in NAMES if name != "tproxy"]
PAIRS = list(permutations((name for name in METHODS if name != "shim"), 2))  # without the module
RANGES = ("203.0.113.0/24", "2001:db8:1::/64")
VIPS = ("203.0.113.77", "2001:db8:1::77")
FIRST = 100  # packets that arrive before anything is changed
PORTS = 4  # of the client's, to each destination

# A process of its own, for its pace; it ends when it is told to, and prints what it did.
SENDER = """
import select, socket, struct, sys, time
port, ports, interval, *destinations = sys.argv[1:]
senders = []
for destination in destinations:
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    for _ in range(int(ports)):
        sender = socket.socket(family, socket.SOCK_DGRAM)
        sender.bind(("", 0))
        senders.append((sender, (destination, int(port))))
sent, worst = 0, 0.0
began = due = time.monotonic()
while not select.select([0], [], [], max(0.0, due - time.monotonic()))[0]:
    now = time.monotonic()
    if now < due:
        continue
    worst = max(worst, now - due)
    sender, to = senders[sent % len(senders)]
    sender.sendto(struct.pack("!I", sent), to)
    sent += 1
    due += float(interval)
print('{"sent": %d, "seconds": %f, "worst": %f}' % (sent, time.monotonic() - began, worst))
"""


class Flow:
    """UDP packets with sequence numbers, round-robin to several addresses; intervals in seconds."""

    def __init__(
        self, client: Namespace, port: int, destinations: Iterable[str], interval: float = 0.001
    ) -> None:
        words = [SENDER, str(port), str(PORTS), str(interval), *destinations]
        argv = [sys.executable, "-I", "-S", "-c", *words]
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", client.name, "nice", "-n", "-15", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def stop(self) -> dict[str, float]:
        """End it; return how many were sent, in which time, and how late the latest of them."""
        printed, _ = self.process.communicate("stop\n", timeout=60)
        found: dict[str, float] = json.loads(printed)
        return found


@pytest.fixture
def counter(net: Lab) -> BeforeIpvs:
    """The counter of the director; it goes when the director does."""
    return BeforeIpvs(net.director)


@contextmanager
def lossless(net: Lab, counter: BeforeIpvs, vips: Iterable[str], *marks: int) -> Iterator[None]:
    """A flow to these VIPs runs meanwhile; each of its packets comes, with one of the marks."""
    vips = tuple(vips)

    def arrived() -> int:
        counts = counter.counts()
        return sum(counts.get((mark, vip), 0) for mark in marks for vip in vips)

    counter.reset()
    flow = Flow(net.client, 9, vips)
    try:
        wait_until(lambda: arrived() >= FIRST, "the flow arrives")
        yield
        before = arrived()
        wait_until(lambda: arrived() >= before + FIRST, "it still does")
    finally:
        done = flow.stop()
    settle(net.client, counter)
    assert arrived() == done["sent"], f"{done}; counted: {counter.counts()}"
    assert done["sent"] > 100 * done["seconds"], done


def _in_use(vipctl: Vipctl) -> dict[str, str]:
    return {name: s["method"] for name, s in vipctl("list-services")["services"].items()}


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_a_service_changes_its_method(
    net: Lab, vipctl: Vipctl, counter: BeforeIpvs, old: str, new: str
) -> None:
    """There, back, and there again with everything else that can be changed on the way."""
    vipctl("add-range", "198.51.100.0/24", "--fwmark", "18", "--method", new)
    words = ["--leftover", "drop", "--port", "udp/9", "--port", "udp/10"]
    vipctl("add-range", *RANGES, "--fwmark", "17", *words, "--method", new)
    as_new = snapshot.unordered(net.director)
    vipctl("set-service", "fwmark-17", "--method", old)
    with lossless(net, counter, [*VIPS, "198.51.100.7"], 17, 18):
        done = vipctl("set-service", "fwmark-17", "--method", new)
    assert changes(done) == [f"fwmark-17: method {old} → {new}"]
    assert vipctl("set-service", "fwmark-17", "--method", new)["changed"] is False
    assert vipctl("restore")["changed"] is False
    counter.reset()
    assert snapshot.unordered(net.director) == as_new, f"nothing of {old} is left"
    vipctl("set-service", "fwmark-17", "--method", old)
    with lossless(net, counter, [*VIPS, "198.51.100.7"], 17, 18):
        vipctl("set-service", "fwmark-17", "--method", new, "--ping", "--port", "udp/9")
    for name in vipctl("list-services")["services"]:
        vipctl("remove-service", name)
    assert "vipctl" not in net.director.run(["nft", "list", "ruleset"]).stdout


FILE = """
services:
  fwmark-17:
    {{method: {0}, leftover: drop, ranges: [203.0.113.0/24, "2001:db8:1::/64", {2}]}}
  fwmark-18:
    {{method: {1}, leftover: drop, ranges: [198.51.100.0/24, "2001:db8:2::/64", {3}]}}
"""
MOVED = '192.0.2.0/25, "2001:db8:3::/64"', '192.0.2.128/25, "2001:db8:4::/64"'
STAYING = [*VIPS, "198.51.100.77", "2001:db8:2::77"]
MOVING = ["192.0.2.7", "2001:db8:3::7", "192.0.2.177", "2001:db8:4::7"]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_prefixes_go_from_one_service_to_another(
    net: Lab, vipctl: Vipctl, counter: BeforeIpvs, tmp_path: Path, one: str, other: str
) -> None:
    """In one `apply`, which leaves the methods of both; then back, in one that swaps them."""
    file = tmp_path / "file.yaml"
    file.write_text(FILE.format(one, other, *MOVED))
    vipctl("apply", str(file))
    for methods, moved in (((one, other), MOVED[::-1]), ((other, one), MOVED)):
        file.write_text(FILE.format(*methods, *moved))
        with lossless(net, counter, [*STAYING, *MOVING], 17, 18):
            assert vipctl("apply", str(file))["changed"] is True
        assert _in_use(vipctl) == dict(zip(("fwmark-17", "fwmark-18"), methods, strict=True))
        assert vipctl("restore")["changed"] is False
