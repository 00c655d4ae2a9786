"""The desired state on disk: services, the spans they hold, the intent of a running change.

One sqlite3 database in a directory of root's own. A change is committed twice: with an intent
before the kernel is touched, and without it after; a database with an intent belongs to a command
that is running or was killed.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from os.path import samestat
from typing import Self

from vipctl import files
from vipctl.addresses.spans import Spans
from vipctl.errors import Missing, Refused, VipctlError
from vipctl.files import Where
from vipctl.health.verdicts import NONE, Verdicts
from vipctl.services import director, role, sync
from vipctl.services.change import Change
from vipctl.services.director import Director
from vipctl.services.role import Role
from vipctl.services.service import Service, from_plain, plain
from vipctl.services.sync import Sync
from vipctl.state import database, verdicts
from vipctl.state.database import DAMAGED, SCHEMA_VERSION, failure
from vipctl.state.directory import identity, prepare, trouble, weighing
from vipctl.state.rows import Rows
from vipctl.state.runtime import GROUP

UNREADABLE = (
    f"use sudo; or be of the group {GROUP}, who read without root while vipctl watch runs "
    "(docs/watch.md)"
)


class Store(Rows):
    """The database of one state directory. Use `Store.open`, which also creates it."""

    def __init__(self, connection: sqlite3.Connection, directory: Where) -> None:
        super().__init__(connection, directory)
        self._file: os.stat_result | None = None

    @classmethod
    def open(cls, directory: Where) -> Self:
        """For changing commands. Raises Missing if the directory cannot be used.

        Raises Refused if others than root may write there or the format is another version's.
        """
        prepare(directory)
        previous = os.umask(0o077)
        try:
            if not files.exists(database.path(directory)):
                database.create(directory)
            db = sqlite3.connect(database.path(directory), isolation_level=None)
            store = cls._ready(db, directory)
            store._file = os.stat(database.path(directory))
            return store
        except (sqlite3.Error, OSError) as e:
            raise failure("read", directory, e) from e
        finally:
            os.umask(previous)

    @classmethod
    def read(cls, directory: Where) -> Self:
        """For commands that change nothing: an absent state is read as empty, and not created."""
        try:
            present = files.exists(database.path(directory))
        except PermissionError as e:
            raise Missing(f"the state in {directory} is root's", hint=UNREADABLE) from e
        if present:
            prepare(directory)
            return cls._snapshot(directory)
        db = sqlite3.connect(":memory:", isolation_level=None)
        database.define(db)
        return cls._ready(db, directory)

    @classmethod
    def _snapshot(cls, directory: Where) -> Self:
        """The state at one moment, whatever other commands commit meanwhile.

        Where nobody can write, sqlite cannot create the files it needs for that beside the
        database, and the database is opened without them.
        """
        try:
            return cls._begun(sqlite3.connect(database.path(directory)), directory)
        except (sqlite3.Error, VipctlError) as e:
            if not database.is_for_writing(e) or trouble(directory) is None:
                raise failure("read", directory, e) from e
        try:
            return cls._begun(database.apart(directory), directory)
        except (sqlite3.Error, OSError) as e:
            raise failure("read", directory, e) from e

    @classmethod
    def _begun(cls, db: sqlite3.Connection, directory: Where) -> Self:
        db.isolation_level = None
        store = cls._ready(db, directory)
        db.execute("BEGIN")
        db.execute("SELECT * FROM meta").fetchall()
        return store

    @classmethod
    def _ready(cls, db: sqlite3.Connection, directory: Where) -> Self:
        db.execute("PRAGMA busy_timeout = 60000")
        (found,) = db.execute("PRAGMA user_version").fetchone()
        if not found:
            db.close()
            raise VipctlError(f"{database.path(directory)} holds no state", hint=DAMAGED)
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

    def meta(self, key: str) -> str | None:
        row = next(self._rows("SELECT value FROM meta WHERE key = ?", (key,)), None)
        return None if row is None else str(row[0])

    def intent(self) -> frozenset[int] | None:
        """The marks that an unfinished change touches, or None if all changes are finished."""
        found = self.meta("intent")
        return None if found is None else frozenset(json.loads(found))

    def token(self) -> str:
        """A random name of this state, left in the kernel to show whose VIPs these are.

        "" before the first change.
        """
        return self.meta("token") or ""

    def in_use(self) -> bool:
        """Whether anything of this state is, or may be, in a kernel."""
        known = self.services() or self.director() or self.sync()
        return bool(known) or self.intent() is not None

    def director(self) -> Director:
        """The director's settings, those that are set."""
        return director.from_plain(json.loads(self.meta("director") or "{}"))

    def sync(self) -> Sync | None:
        """How connections are synchronised with other directors; None if they are not."""
        return sync.from_plain(json.loads(self.meta("sync") or "null"))

    def former_syncs(self) -> list[Sync]:
        """As an unfinished change may have left it in the kernel."""
        return [Sync(**form) for form in json.loads(self.meta("former_syncs") or "[]")]

    def role(self) -> Role:
        return role.from_plain(json.loads(self.meta("role") or "{}"))

    def services(self) -> Mapping[str, Service]:
        """By name, in order."""
        if "services" not in self.derived:
            rows = [*self._rows("SELECT name, spec FROM service ORDER BY name")]
            self.derived["services"] = {
                name: from_plain(name, json.loads(spec)) for name, spec in rows
            }
        found: Mapping[str, Service] = self.derived["services"]
        return found

    def verdicts(self) -> Verdicts:
        """What health checks say at this moment; not looked for where nothing is checked."""
        checked = any(service.watched for service in self.services().values())
        return verdicts.read(self.directory) if checked else NONE

    @contextmanager
    def weighing(self) -> Iterator[Verdicts]:
        """The verdicts; but for who only reads, these and weights in IPVS stay as they are."""
        with nullcontext() if self._file is None else weighing(self.directory):
            yield self.verdicts()

    def sysctls(self) -> dict[str, tuple[str, str]]:
        """The sysctls that vipctl has set: name → (value before, value set)."""
        return {name: (old, new) for name, old, new in self._rows("SELECT * FROM sysctl")}

    def begin(
        self, change: Change, marks: Iterable[int], sysctls: dict[str, tuple[str, str]]
    ) -> None:
        """Commits the new state together with the intent to bring the kernel there.

        `marks` are those of the IPVS services that the change may add or remove; `sysctls` those
        that may have to be put back.
        """
        with self._transaction():
            pending = {*marks, *(self.intent() or ())}
            self._set_meta("intent", json.dumps(sorted(pending)))
            self._keep_syncs(change)
            self._set_meta("owner", identity())
            self._set_meta("token", self.token() or os.urandom(8).hex())
            self._apply(change)
            self._keep(sysctls)

    def finish(
        self,
        seals: dict[str, str],
        sysctls: dict[str, tuple[str, str]],
        epochs: dict[str, str] | None = None,
    ) -> None:
        """Commits that the kernel is as the state says: the intent is fulfilled.

        `seals` are the digests of the methods' seals. `sysctls` are those that stay vipctl's: the
        others have their old values again. `epochs` are those of methods whose prefixes are known
        to be as stored.
        """
        with self._transaction():
            self._keep(sysctls)
            self._set_meta("seals", json.dumps(seals))
            self._set_meta("epochs", json.dumps(epochs or {}))
            self._db.execute("DELETE FROM meta WHERE key IN ('intent', 'former_syncs')")

    def check_there(self) -> None:
        """Raises VipctlError if the database was removed or replaced since it was opened."""
        path = database.path(self.directory)
        if self._file and not (files.exists(path) and samestat(self._file, os.stat(path))):
            raise VipctlError(
                f"{path} was removed, or another put in its place, while the command ran",
                hint="see who did that; put it back from a backup, then vipctl restore",
            )

    def seals(self) -> dict[str, str]:
        return dict(json.loads(self.meta("seals") or "{}"))

    def epochs(self) -> dict[str, str]:
        return dict(json.loads(self.meta("epochs") or "{}"))

    def note(self, epochs: dict[str, str]) -> None:
        """Replaces the epochs alone."""
        with self._transaction():
            self._set_meta("epochs", json.dumps(epochs))

    def _keep_syncs(self, change: Change) -> None:
        if change.sync[0] == change.sync[1]:
            return
        former = {*self.former_syncs(), *filter(None, change.sync)}
        self._set_meta("former_syncs", json.dumps([one._asdict() for one in sorted(former)]))
        self._set_meta("sync", json.dumps(sync.plain(change.sync[1])))

    def _keep(self, sysctls: dict[str, tuple[str, str]]) -> None:
        self._db.execute("DELETE FROM sysctl")
        rows = ((name, *values) for name, values in sysctls.items())
        self._db.executemany("INSERT INTO sysctl VALUES (?, ?, ?)", rows)

    def _apply(self, change: Change) -> None:
        services = self.services()
        self.derived.clear()
        self.derived["services"] = _changed(services, change)
        for place in {*change.released, *change.taken}:
            nothing = Spans(place.version)
            self._edit(place, change.released.get(place, nothing), change.taken.get(place, nothing))
        self._db.executemany(
            "DELETE FROM service WHERE name = ?", ((s.name,) for s in change.before)
        )
        self._db.executemany(
            "INSERT INTO service VALUES (?, ?)",
            ((s.name, json.dumps(plain(s))) for s in change.after),
        )
        self._db.execute("DELETE FROM tally WHERE prefixes = 0")
        if change.director[0] != change.director[1]:
            self._set_meta("director", json.dumps(director.plain(change.director[1])))
        if change.role[0] != change.role[1]:
            self._set_meta("role", json.dumps(role.plain(change.role[1])))

    def _set_meta(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing. Raises Unwritten if the disk does not accept it."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as e:
            self.derived.clear()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(e, sqlite3.Error):
                raise failure("write", self.directory, e) from e
            raise


def _changed(services: Mapping[str, Service], change: Change) -> dict[str, Service]:
    gone = {service.name for service in change.before}
    found = {name: service for name, service in services.items() if name not in gone}
    found |= {service.name: service for service in change.after}
    return dict(sorted(found.items()))
