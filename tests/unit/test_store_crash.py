"""The state on disk when something goes wrong: killed commands, a full disk, damage, strangers."""

import multiprocessing
import os
import resource
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.committing import commit, done
from tests.unit.holding import Row, flat, held_by
from vipctl.addresses.prefixes import from_spans
from vipctl.errors import Refused, VipctlError
from vipctl.services import planner
from vipctl.services.change import Change
from vipctl.services.service import Service
from vipctl.state.database import SCHEMA_VERSION
from vipctl.state.store import Store

process = multiprocessing.get_context("fork")
WEB = Service(name="web", fwmark=0x1000)
DNS = Service(name="dns", fwmark=0x1001)


def scattered(store: Store, service: Service, count: int) -> Change:
    start = service.fwmark << 16
    wanted = from_spans((4, (start + 2 * n, start + 2 * n)) for n in range(count))
    return planner.take(store, None, service, wanted)


def in_child(directory: Path, work: Callable[[Store], None]) -> int | None:
    """The exit code of a child process that opens the store and does `work`."""

    def run() -> None:
        with Store.open(directory) as store:
            work(store)

    child = process.Process(target=run)
    child.start()
    child.join(20)
    return child.exitcode


def rows(directory: Path) -> tuple[list[str], list[Row]]:
    with Store.open(directory) as store:
        return sorted(store.services()), flat(store.held())


# killed commands


def test_an_intent_outlives_its_command(tmp_path: Path) -> None:
    def die_before_the_kernel(store: Store) -> None:
        store.begin(scattered(store, WEB, 3), [WEB.fwmark, 7], {})
        os._exit(9)

    assert in_child(tmp_path, die_before_the_kernel) == 9
    with Store.open(tmp_path) as store:
        assert store.intent() == frozenset({WEB.fwmark, 7})
        assert list(store.services()) == ["web"]
        store.begin(scattered(store, DNS, 1), [DNS.fwmark], {})
        both = frozenset({WEB.fwmark, 7, DNS.fwmark})
        assert store.intent() == both, "what the first may have left is forgotten"
        done(store)
        assert store.intent() is None


def test_an_intent_without_marks_is_an_intent(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.begin(Change(), (), {})
        assert store.intent() == frozenset()


def killed_at(directory: Path, statement: Callable[[int, str], bool], change: Change) -> int:
    """The exit code of a child that is killed when `statement` (number, SQL) of `begin` says so."""

    def run() -> None:
        count = 0

        def look(sql: str) -> None:
            nonlocal count
            count += 1
            if statement(count, sql):
                os._exit(9)

        with closing(sqlite3.connect(directory / "state.db", isolation_level=None)) as db:
            db.execute("PRAGMA cache_size = 1")  # what is written goes to the file at once
            db.set_trace_callback(look)
            Store(db, directory).begin(change, (), {"net.x": ("0", "1")})

    child = process.Process(target=run)
    child.start()
    child.join(20)
    assert child.exitcode in (0, 9)
    return child.exitcode


def test_a_command_killed_at_any_statement_leaves_the_state_as_it_was(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        commit(store, scattered(store, DNS, 1))
        change = planner.merged([planner.end(store, DNS), scattered(store, WEB, 2)])
    before, number = rows(tmp_path), 1
    while killed_at(tmp_path, lambda n, _: n == number, change):  # noqa: B023 - called in the loop
        with Store.open(tmp_path) as store:
            assert store.intent() is None
            assert store.sysctls() == {}
        assert rows(tmp_path) == before
        number += 1
    assert number > 8
    assert rows(tmp_path)[0] == ["web"]


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


def test_a_large_change_killed_at_its_commit_is_undone(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        change = scattered(store, WEB, 5000)
    size = size_of(tmp_path)
    assert killed_at(tmp_path, lambda _, sql: sql == "COMMIT", change) == 9
    assert size_of(tmp_path) > size + 65536, "little had reached the files"
    assert rows(tmp_path) == ([], [])


@pytest.mark.parametrize("cached", [1, 10000], ids=["while it writes", "at the commit"])
def test_where_no_file_may_grow_nothing_changes_and_it_says_so(tmp_path: Path, cached: int) -> None:
    with Store.open(tmp_path) as store:
        commit(store, scattered(store, DNS, 10))
        before, change = rows(tmp_path), scattered(store, WEB, 3000)
    limit = (tmp_path / "state.db").stat().st_size + 16384

    def fill(_: Store) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as db:
            db.execute(f"PRAGMA cache_size = {cached}")
            try:
                Store(db, tmp_path).begin(change, (), {})
            except (VipctlError, sqlite3.Error) as e:
                (tmp_path / "words").write_text(str(e))
                os._exit(3)

    assert in_child(tmp_path, fill) == 3
    assert rows(tmp_path) == before
    words = (tmp_path / "words").read_text()
    assert "File too large" in words
    assert "rollback" not in words


def test_a_change_that_cannot_be_is_undone_to_its_beginning(tmp_path: Path) -> None:
    """The second of two services of a name, once the first and its spans are there."""
    row = Row("web", 4, 0, 1, 2)
    held = held_by([row])
    with Store.open(tmp_path) as store:
        with pytest.raises(VipctlError, match="cannot write the state"):
            store.begin(Change(after=(WEB, WEB), taken=held), (), {})
        assert (store.services(), store.held(), store.tallies()) == ({}, {}, [])
        assert store.intent() is None
        commit(store, Change(after=(WEB,), taken=held))
    assert rows(tmp_path) == (["web"], [row])


# readers


def test_a_reading_command_sees_one_state(tmp_path: Path) -> None:
    """A service that comes while somebody reads is not there by half."""
    with Store.open(tmp_path) as store:
        commit(store, scattered(store, DNS, 1))

    def come() -> None:
        with Store.open(tmp_path) as store:
            commit(store, scattered(store, WEB, 1))

    writer = threading.Thread(target=come)
    with Store.read(tmp_path) as store:
        names = set(store.services())
        writer.start()
        writer.join(0.5)  # it may have to wait for the reader
        counted = {name for name, _, _ in store.tallies()}
        holders = {place.service for place in store.held()}
    writer.join(20)
    assert names == counted == holders == {"dns"}
    assert rows(tmp_path)[0] == ["dns", "web"]


# damage


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "another file": lambda _: b"#!/bin/sh\n" * 1000,
    "cut short": lambda data: data[: len(data) // 2],
    "zeros after the first page": lambda data: data[:4096] + bytes(len(data) - 4096),
    "junk after the first page": lambda data: data[:4096] + b"junk" * ((len(data) - 4096) // 4),
    "junk as header": lambda data: b"junk" * 25 + data[100:],
}


def read_all(directory: Path) -> None:
    with Store.read(directory) as store:
        store.services()
        list(store.held())
        store.tallies()


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_database_is_named(tmp_path: Path, kind: str) -> None:
    with Store.open(tmp_path) as store:
        store.begin(scattered(store, WEB, 2000), (), {})
    file = tmp_path / "state.db"
    file.write_bytes(DAMAGE[kind](file.read_bytes()))
    with pytest.raises(VipctlError) as caught:
        read_all(tmp_path)
    assert str(tmp_path) in caught.value.message
    assert "backup" in (caught.value.hint or "")


def test_a_directory_in_place_of_the_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    with pytest.raises(VipctlError, match="cannot read the state in") as caught:
        Store.open(tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 99, -1])
def test_another_format_is_refused_and_left_alone(tmp_path: Path, version: int) -> None:
    Store.open(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "state.db")) as db:
        db.execute(f"PRAGMA user_version = {version}")
    before = (tmp_path / "state.db").read_bytes()
    for use in (Store.open, Store.read):
        with pytest.raises(Refused, match=f"format {version}") as caught:
            use(tmp_path)
        assert "upgrade" in (caught.value.hint or "")
    assert (tmp_path / "state.db").read_bytes() == before
