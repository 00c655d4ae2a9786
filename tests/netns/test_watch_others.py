"""Who does the same thing again and again beside `vipctl watch`: bounded edits, and who it is."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.harness.running import running
from tests.harness.waiting import wait_until
from tests.netns import snapshot
from tests.netns.test_watch import RANGES, watching
from vipctl.methods.fwmark import BLOCK
from vipctl.watch.patience import LIMIT

OWN = "203.0.113.9"
NAMED = f"{OWN}, an address of this director, is a VIP of service 'fwmark-17'"
# Deletes the same rule of vipctl's whenever it is there, as one process that goes on.
FIEND = """
import socket, struct, sys, time
link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
body = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
body += struct.pack("=HHI", 8, 6, int(sys.argv[1]))  # FRA_PRIORITY
deletion = struct.pack("=IHHII", 16 + len(body), 33, 5, 1, 0) + body  # RTM_DELRULE
while True:
    link.send(deletion)
    if link.recv(4096)[16:20] == bytes(4):
        print("deleted", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@contextmanager
def fiend(host: Namespace, pause: float, record: Path) -> Iterator[int]:
    argv = ["ip", "netns", "exec", host.name, sys.executable, "-c", FIEND]
    with record.open("w") as stdout:
        words = [str(BLOCK.priorities[1]), str(pause)]
        with running([*argv, *words], stdout=stdout) as process:
            yield process.pid


@pytest.mark.parametrize("pause", [0.01, 1.0])
def test_who_deletes_rules_again_and_again_is_named_and_left_alone(
    net: Lab, vipctl: Vipctl, tmp_path: Path, pause: float
) -> None:
    """Even who is so fast that nothing is ever found to be put back."""
    vipctl("add-range", *RANGES, "--fwmark", "17")
    whole = snapshot.unordered(net.director)
    with watching(vipctl, tmp_path / "log") as daemon:
        with fiend(net.director, pause, tmp_path / "deleted") as pid:
            daemon.wait_for("changed again and again, and put back less often now: method fwmark")
            time.sleep(9)  # and left alone for 2 s, for 4 s, for 8 s
            deletions = (tmp_path / "deleted").read_text().count("deleted")
            assert LIMIT <= deletions <= 2 * LIMIT + 4, daemon.said()
            (fought, *_) = (line for line in daemon.said() if "again and again" in line)
            assert "policy rules by python" in fought
            assert f"[{pid}]" in fought
        wait_until(lambda: snapshot.unordered(net.director) == whole, "it is put back in the end")


def test_an_own_address_that_is_a_vip_is_told(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    with watching(vipctl, tmp_path / "log", command=("--every", "3600")) as daemon:
        net.director.ip(f"addr add {OWN}/32 dev eth1")
        daemon.wait_for(f"vipctl: {NAMED}")
        net.director.ip(f"addr del {OWN}/32 dev eth1")
        daemon.wait_for(f"no longer: {NAMED}")
        net.director.ip(f"addr add {OWN}/32 dev eth1")
        wait_until(lambda: len(daemon.said()) == 4, "it is told again")
        vipctl("remove-range", OWN)
        wait_until(lambda: len(daemon.said()) == 5, "commands change that too")
        assert daemon.said()[-1].startswith(f"vipctl: no longer: {NAMED}")
        assert not any("put back" in line for line in daemon.said())


def test_one_that_is_there_at_the_start_is_told(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    net.director.ip(f"addr add {OWN}/32 dev eth1")
    with watching(vipctl, tmp_path / "log") as daemon:
        daemon.wait_for(NAMED)


def test_an_address_that_comes_and_goes_is_not_told_for_ever(
    net: Lab, vipctl: Vipctl, tmp_path: Path
) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    with watching(vipctl, tmp_path / "log") as daemon:
        for number in range(1, LIMIT):
            net.director.ip(f"addr add {OWN}/32 dev eth1")
            wait_until(lambda n=number: len(daemon.said()) == 2 * n, "it is told")  # type: ignore[misc]
            net.director.ip(f"addr del {OWN}/32 dev eth1")
            wait_until(lambda n=number: len(daemon.said()) == 2 * n + 1, "it has gone")  # type: ignore[misc]
        net.director.ip(f"addr add {OWN}/32 dev eth1")
        daemon.wait_for("it comes and goes again and again, and is said less often now")
        for _ in range(3):
            net.director.ip(f"addr del {OWN}/32 dev eth1", f"addr add {OWN}/32 dev eth1")
        net.director.ip(f"addr del {OWN}/32 dev eth1")
        wait_until(lambda: "no longer" in daemon.said()[-1], "the last word is true")
