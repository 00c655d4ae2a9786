"""The desired state on disk: services, the spans they hold, the intent of a running change.

One sqlite3 database in a directory of root's own. A change is committed twice: with an intent
before the kernel is touched, and without it after; a database with an intent belongs to a command
that is running or was killed. Only what returns everything is slower than O(log n).
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from vipctl import statedir, syntax
from vipctl.errors import Missing, Refused, VipctlError
from vipctl.model import Change, Held, Service, Shape
from vipctl.prefixes import BITS, cut

SCHEMA_VERSION = 1

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE service (name TEXT PRIMARY KEY, spec TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE held (
    service TEXT NOT NULL,
    version INTEGER NOT NULL,
    plane INTEGER NOT NULL,
    first BLOB NOT NULL,
    last BLOB NOT NULL,
    PRIMARY KEY (version, plane, first)
) WITHOUT ROWID;
CREATE INDEX held_by ON held (service, version, first);
CREATE TABLE tally (
    service TEXT NOT NULL,
    version INTEGER NOT NULL,
    plane INTEGER NOT NULL,
    length INTEGER NOT NULL,
    prefixes INTEGER NOT NULL,
    PRIMARY KEY (service, version, plane, length)
) WITHOUT ROWID;
CREATE TABLE sysctl (name TEXT PRIMARY KEY, old TEXT NOT NULL, new TEXT NOT NULL) WITHOUT ROWID;
"""


class Store:
    """The database of one state directory. Use `Store.open`, which also creates it."""

    def __init__(self, connection: sqlite3.Connection, directory: Path) -> None:
        self._db = connection
        self._directory = directory
        self._services: dict[str, Service] | None = None  # as read last

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Raises Missing if the directory cannot be used, Refused if it is another version's."""
        statedir.prepare(directory)
        previous = os.umask(0o077)
        try:
            if not (directory / "state.db").exists():
                _create(directory)
            db = sqlite3.connect(directory / "state.db", isolation_level=None)
            return cls._ready(db, directory)
        except sqlite3.Error as e:
            if os.geteuid():
                raise Missing(f"the state in {directory} is root's", hint="use sudo") from e
            raise _unreadable(directory, e) from e
        finally:
            os.umask(previous)

    @classmethod
    def read(cls, directory: Path) -> Self:
        """For commands that change nothing: an absent state is an empty one and stays absent."""
        try:
            present = (directory / "state.db").exists()
        except PermissionError as e:
            raise Missing(f"the state in {directory} is root's", hint="use sudo") from e
        if present:
            store = cls.open(directory)
            store._db.execute("BEGIN")  # one snapshot, whatever others commit meanwhile
            store.intent()
            return store
        db = sqlite3.connect(":memory:", isolation_level=None)
        _define(db)
        return cls._ready(db, directory)

    @classmethod
    def _ready(cls, db: sqlite3.Connection, directory: Path) -> Self:
        db.execute("PRAGMA busy_timeout = 60000")
        (found,) = db.execute("PRAGMA user_version").fetchone()
        if found != SCHEMA_VERSION:
            db.close()
            raise Refused(
                f"the state is of format {found}; this vipctl reads format {SCHEMA_VERSION}",
                hint="upgrade vipctl, or `vipctl export` with the version that wrote it",
            )
        return cls(db, directory)

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # reading

    def _rows(self, query: str, values: Iterable[object] = ()) -> Iterator[Any]:
        try:
            yield from self._db.execute(query, tuple(values))
        except sqlite3.Error as e:
            raise _unreadable(self._directory, e) from e

    def meta(self, key: str) -> str | None:
        row = next(self._rows("SELECT value FROM meta WHERE key = ?", (key,)), None)
        return None if row is None else str(row[0])

    def intent(self) -> frozenset[int] | None:
        """The marks that an unfinished change touches, or None if all changes are finished."""
        found = self.meta("intent")
        return None if found is None else frozenset(json.loads(found))

    def in_use(self) -> bool:
        """Whether anything of this state is, or may be, in a kernel."""
        return bool(self.services()) or self.intent() is not None

    def services(self) -> Mapping[str, Service]:
        """By name, in order."""
        if self._services is None:
            rows = self._rows("SELECT name, spec FROM service ORDER BY name")
            self._services = {n: syntax.from_plain(n, json.loads(spec)) for n, spec in rows}
        return self._services

    def held(self, service: str | None = None) -> Iterator[Held]:
        """In order of address; of all services (by version and plane) or of one."""
        if service is None:
            rows = self._rows("SELECT * FROM held ORDER BY version, plane, first")
        else:
            rows = self._rows(
                "SELECT * FROM held WHERE service = ? ORDER BY version, first", (service,)
            )
        return map(_decode, rows)

    def outermost(self, service: str, version: int) -> list[Held]:
        """The first and the last span of a service, if it has any."""
        found = "SELECT * FROM held WHERE service = ? AND version = ? ORDER BY first"
        return [
            _decode(row)
            for query in (f"{found} LIMIT 1", f"{found} DESC LIMIT 1")
            for row in self._rows(query, (service, version))
        ]

    def touching(self, version: int, first: int, last: int) -> list[Held]:
        """All that overlaps FIRST-LAST or is next to it, of every service."""
        low, high = max(first - 1, 0), min(last + 1, (1 << BITS[version]) - 1)
        found: list[Held] = []
        for (plane,) in list(self._rows("SELECT DISTINCT plane FROM tally")):
            key = (version, plane, _blob(version, low))
            before = self._rows(
                "SELECT * FROM held WHERE version = ? AND plane = ? AND first < ? "
                "ORDER BY first DESC LIMIT 1",
                key,
            )
            found += [held for held in map(_decode, before) if held.last >= low]
            inside = self._rows(
                "SELECT * FROM held WHERE version = ? AND plane = ? AND first BETWEEN ? AND ?",
                (*key, _blob(version, high)),
            )
            found += map(_decode, inside)
        return found

    def tallies(self) -> list[tuple[str, Shape, int]]:
        """How many prefixes of each shape each service has."""
        rows = self._rows("SELECT service, version, plane, length, prefixes FROM tally")
        return [(name, Shape(*shape), count) for name, *shape, count in rows]

    def sysctls(self) -> dict[str, tuple[str, str]]:
        """What vipctl has set: name → (value before, value set)."""
        return {name: (old, new) for name, old, new in self._rows("SELECT * FROM sysctl")}

    # writing

    def begin(
        self, change: Change, marks: Iterable[int], sysctls: dict[str, tuple[str, str]]
    ) -> None:
        """Commits the new state together with the intent to bring the kernel there.

        `marks` are those of the IPVS services that may come or go on the way, `sysctls` what
        may have to be put back.
        """
        with self._transaction():
            pending = {*marks, *(self.intent() or ())}
            self._set_meta("intent", json.dumps(sorted(pending)))
            self._set_meta("owner", statedir.identity())
            self._apply(change)
            self._keep(sysctls)

    def finish(self, seals: dict[str, str], sysctls: dict[str, tuple[str, str]]) -> None:
        """Commits that the kernel is as the state says; `seals` are the methods' digests.

        `sysctls` are those that stay vipctl's: the others have their old values again.
        """
        with self._transaction():
            self._keep(sysctls)
            self._set_meta("seals", json.dumps(seals))
            self._db.execute("DELETE FROM meta WHERE key = 'intent'")

    def seals(self) -> dict[str, str]:
        return dict(json.loads(self.meta("seals") or "{}"))

    def _keep(self, sysctls: dict[str, tuple[str, str]]) -> None:
        self._db.execute("DELETE FROM sysctl")
        rows = ((name, *values) for name, values in sysctls.items())
        self._db.executemany("INSERT INTO sysctl VALUES (?, ?, ?)", rows)

    def _apply(self, change: Change) -> None:
        self._services = None
        self._count(change.released, -1)
        self._db.executemany(
            "DELETE FROM held WHERE version = ? AND plane = ? AND first = ?",
            ((h.version, h.plane, _blob(h.version, h.first)) for h in change.released),
        )
        self._db.executemany(
            "DELETE FROM service WHERE name = ?", ((s.name,) for s in change.before)
        )
        self._db.executemany(
            "INSERT INTO service VALUES (?, ?)",
            ((s.name, json.dumps(syntax.plain(s))) for s in change.after),
        )
        self._db.executemany("INSERT INTO held VALUES (?, ?, ?, ?, ?)", map(_encode, change.taken))
        self._count(change.taken, 1)
        self._db.execute("DELETE FROM tally WHERE prefixes = 0")

    def _count(self, spans: Iterable[Held], sign: int) -> None:
        counts: dict[tuple[str, int, int, int], int] = {}
        for service, version, plane, first, last in spans:
            for _, length in cut(version, first, last):
                key = (service, version, plane, length)
                counts[key] = counts.get(key, 0) + sign
        self._db.executemany(
            "INSERT INTO tally VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
            "SET prefixes = prefixes + excluded.prefixes",
            ((*key, count) for key, count in counts.items()),
        )

    def _set_meta(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing. Raises VipctlError where the disk does not take it."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as e:
            self._services = None
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(e, sqlite3.Error):
                raise VipctlError(
                    f"the state cannot be written: {e}", hint="is the disk full or read-only?"
                ) from e
            raise


def _create(directory: Path) -> None:
    """A database appears whole, or not at all, whoever comes first."""
    with TemporaryDirectory(dir=directory, prefix="new-") as scratch:
        db = sqlite3.connect(Path(scratch) / "state.db", isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")  # readers do not wait for writers
        _define(db)
        db.close()
        with suppress(FileExistsError):
            (directory / "state.db").hardlink_to(Path(scratch) / "state.db")


def _define(db: sqlite3.Connection) -> None:
    db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def _unreadable(directory: Path, error: sqlite3.Error) -> VipctlError:
    return VipctlError(
        f"cannot read the state in {directory}: {error}",
        hint="put its directory back from a backup, or vipctl restore from an empty one",
    )


def _blob(version: int, value: int) -> bytes:
    return value.to_bytes(BITS[version] // 8, "big")


def _encode(held: Held) -> tuple[str, int, int, bytes, bytes]:
    service, version, plane, first, last = held
    return service, version, plane, _blob(version, first), _blob(version, last)


def _decode(row: tuple[str, int, int, bytes, bytes]) -> Held:
    service, version, plane, first, last = row
    return Held(service, version, plane, int.from_bytes(first, "big"), int.from_bytes(last, "big"))
