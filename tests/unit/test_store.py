"""The state on disk: created once, private, locked, of one network namespace."""

import multiprocessing
import os
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.harness.netns import Namespace
from tests.harness.waiting import wait_until
from tests.unit.holding import flat
from vipctl.addresses.prefixes import from_spans
from vipctl.errors import Missing, Refused, VipctlError
from vipctl.services import planner
from vipctl.services.change import Change
from vipctl.services.service import Service
from vipctl.state import database
from vipctl.state.directory import identity, lock
from vipctl.state.store import Store

process = multiprocessing.get_context("fork")
WEB = Service(name="web", fwmark=0x1000)
SPANS = [(4, (20, 29)), (6, (1 << 100, (1 << 100) + 3))]


def web(store: Store) -> Change:
    return planner.take(store, None, WEB, from_spans(SPANS))


def in_child(work: Callable[[], None]) -> int | None:
    """The exit code of a child process that does `work`."""
    child = process.Process(target=work)
    child.start()
    child.join(20)
    return child.exitcode


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# creation


def test_what_is_written_is_there_the_next_time(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s") as store:
        store.begin(web(store), [7], {"net.x": ("0", "1")})
        store.finish({"fwmark": "digest"}, {"net.x": ("0", "1")})
    with Store.open(tmp_path / "s") as store:
        assert store.services() == {"web": WEB}
        assert [(h.version, h.span) for h in flat(store.held("web"))] == SPANS
        assert store.sysctls() == {"net.x": ("0", "1")}
        assert store.seals() == {"fwmark": "digest"}
        assert store.meta("owner") == identity()


def change(directory: Path) -> None:
    with lock(directory), Store.open(directory) as store:
        assert store.services() == {}


def look(directory: Path) -> None:
    wait_until((directory / "state.db").exists, "there is a state")
    with Store.read(directory) as store:
        assert store.services() == {}


@pytest.mark.parametrize("commands", [(change, change), (change, look, look)], ids=len)
def test_commands_that_come_first_together_make_one_database(
    tmp_path: Path, commands: tuple[Callable[[Path], None], ...]
) -> None:
    """Time and again, as each round is a race of its own."""
    directories = [tmp_path / str(n) for n in range(40)]
    together = process.Barrier(len(commands))

    def come(command: Callable[[Path], None]) -> None:
        for directory in directories:
            together.wait(10)
            command(directory)

    children = [process.Process(target=come, args=(command,)) for command in commands]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * len(commands)


def test_nobody_else_can_read_the_state(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with lock(tmp_path / "a" / "s"), Store.open(tmp_path / "a" / "s") as store:
            store.begin(web(store), (), {})
            os.umask(0o077)
            modes = {path.name: mode(path) for path in (tmp_path / "a" / "s").iterdir()}
    finally:
        os.umask(before)
    assert modes.keys() >= {"lock", "state.db"}
    assert set(modes.values()) == {0o600}
    assert mode(tmp_path / "a" / "s") == 0o700


def test_opening_leaves_the_umask_as_it_was(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        Store.open(tmp_path / "s").close()
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_reading_creates_nothing(tmp_path: Path) -> None:
    with Store.read(tmp_path / "s") as store:
        assert (store.services(), list(store.held()), store.tallies()) == ({}, [], [])
        assert (store.intent(), store.sysctls(), store.seals()) == (None, {}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("permissions", [0o777, 0o770, 0o702, 0o1777])
def test_a_directory_that_others_can_write_is_refused(tmp_path: Path, permissions: int) -> None:
    tmp_path.chmod(permissions)
    for use in (Store.open, lambda path: lock(path).__enter__()):
        with pytest.raises(Refused, match="can be written by others") as caught:
            use(tmp_path)
        assert "--state-dir" in (caught.value.hint or "")
        assert "chmod" not in (caught.value.hint or ""), "of a directory like /tmp"
    assert list(tmp_path.iterdir()) == []


def test_one_that_has_a_state_can_be_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch()
    tmp_path.chmod(0o777)
    with pytest.raises(Refused, match="can be written by others") as caught:
        Store.open(tmp_path)
    assert f"chmod 0700 {tmp_path}" in (caught.value.hint or "")


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(Refused, match="can be written by others"):
        Store.open(tmp_path)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    with pytest.raises(Missing, match="cannot use the state directory"):
        Store.open(tmp_path / "s")
    assert (tmp_path / "s").read_text() == "mine"


# the lock


def test_a_second_command_waits_for_the_first(tmp_path: Path) -> None:
    end = time.monotonic() + 0.4

    def hold() -> None:
        with lock(tmp_path / "s"):
            held.set()
            time.sleep(max(0.0, end - time.monotonic()))

    held = process.Event()
    child = process.Process(target=hold)
    child.start()
    assert held.wait(20)
    with lock(tmp_path / "s", timeout=10):
        assert time.monotonic() >= end
    child.join(20)


def test_a_waiting_command_says_so_once_and_gives_up_in_time(tmp_path: Path) -> None:
    said: list[str] = []
    start = time.monotonic()
    with (
        lock(tmp_path / "s"),
        pytest.raises(Refused, match="another vipctl command has held") as caught,
        lock(tmp_path / "s", timeout=1.2, waiting=lambda: said.append("waiting")),
    ):
        pass
    assert time.monotonic() - start >= 1.2
    assert said == ["waiting"]
    assert str(tmp_path / "s") in caught.value.message
    assert "fuser" in (caught.value.hint or "")


def test_the_lock_of_a_killed_command_is_free(tmp_path: Path) -> None:
    def die() -> None:
        with lock(tmp_path / "s"):
            os._exit(9)

    assert in_child(die) == 9
    with lock(tmp_path / "s", timeout=0):
        pass


def test_an_error_under_the_lock_frees_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock(tmp_path / "s"):
        _ = 1 // 0
    with lock(tmp_path / "s", timeout=0):
        pass


def test_a_symbolic_link_as_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir(mode=0o700)
    (tmp_path / "s" / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(VipctlError, match="lock"), lock(tmp_path / "s", timeout=0):
        pass
    assert not (tmp_path / "victim").exists()


def test_a_program_started_under_the_lock_does_not_inherit_it(tmp_path: Path) -> None:
    with lock(tmp_path / "s"), Store.open(tmp_path / "s"):
        listing = ["ls", "-l", "/proc/self/fd"]
        done = subprocess.run(listing, close_fds=False, capture_output=True, text=True, check=True)
        assert str(tmp_path) not in done.stdout


# whose state it is


def test_identity_is_one_of_the_network_namespace() -> None:
    here = identity()
    with Namespace.create("store") as host:
        there = identity()
        assert identity() == there
    assert identity() == here
    assert here != there
    assert here.split("/")[0] == there.split("/")[0]
    host.close()


def test_the_state_belongs_to_whom_it_was_written_by(tmp_path: Path) -> None:
    host = Namespace.create("store")
    with host, Store.open(tmp_path / "s") as store:
        store.begin(web(store), (), {})
        there = identity()
    host.close()
    with Store.open(tmp_path / "s") as store:
        assert store.meta("owner") == there != identity()
        store.begin(Change(), (), {})
        assert store.meta("owner") == identity()


def test_a_state_that_another_process_has_locked_is_not_damaged(tmp_path: Path) -> None:
    with lock(tmp_path), Store.open(tmp_path):
        pass
    with (
        closing(sqlite3.connect(database.path(tmp_path))) as holder,
        closing(sqlite3.connect(database.path(tmp_path), timeout=0)) as other,
    ):
        holder.executescript("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked") as caught:
            other.execute("SELECT * FROM service")
    error = database.failure("read", tmp_path, caught.value)
    assert "another process has it locked" in error.message
    assert error.hint == (
        f"see who: fuser -v {tmp_path}/state.db; one that is stopped goes on by kill -CONT"
    )
