"""Commands at the same time: one after the other, none lost, none kept waiting for ever."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.harness.waiting import wait_until
from tests.netns import snapshot
from tests.netns.arrivals import accepted
from tests.netns.processes import finish, start
from vipctl.errors import Refused
from vipctl.state.directory import lock

MANY = 20


def test_of_twenty_at_once_none_is_lost(net: Lab, vipctl: Vipctl) -> None:
    ranges = [f"198.51.{number}.0/24" for number in range(0, 2 * MANY, 2)]
    running = [start(vipctl, "add-range", one, "--fwmark", "17") for one in ranges]
    finished = [finish(process) for process in running]
    assert [done.code for done in finished] == [0] * MANY, finished
    assert all('"changed": true' in done.stdout for done in finished)
    assert sorted(r["range"] for r in vipctl("list-ranges")["ranges"]) == sorted(ranges)
    vips = [one.replace(".0/24", ".9") for one in ranges]
    with LocalInCounter(net.director) as counter:
        assert accepted(net, counter, vips) == dict.fromkeys(vips, 17)
    assert vipctl("restore")["changed"] is False


def test_one_waits_for_another(vipctl: Vipctl) -> None:
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")
    with _held(vipctl.state_dir):
        files = snapshot.directory(vipctl.state_dir)
        waiting = start(vipctl, "add-range", "192.0.2.0/24", "--fwmark", "17")
        wait_until(lambda: _has_open(waiting.pid, vipctl.state_dir / "lock"), "it waits")
        assert vipctl("status")["pending"] is False, "reading waits for nobody"
        assert vipctl("--check", "remove-range", "203.0.113.0/24")["changed"] is True
        assert snapshot.directory(vipctl.state_dir) == files
        assert waiting.poll() is None
    assert finish(waiting).code == 0
    assert len(vipctl("list-ranges")["ranges"]) == 2


def test_waiting_has_an_end(vipctl: Vipctl) -> None:
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")
    told: list[str] = []
    with (
        _held(vipctl.state_dir),
        pytest.raises(Refused, match=r"another vipctl command .*state") as refusal,
        lock(vipctl.state_dir, timeout=1.2, waiting=lambda: told.append("waiting")),
    ):
        pytest.fail("two have the lock")
    assert refusal.value.hint
    assert "fuser" in refusal.value.hint
    assert told == ["waiting"]


@contextmanager
def _held(state_dir: Path) -> Iterator[None]:
    """Hold the lock of a state directory as a command does."""
    handle = os.open(state_dir / "lock", os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _has_open(pid: int, path: Path) -> bool:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            if link.samefile(path):
                return True
    return False
