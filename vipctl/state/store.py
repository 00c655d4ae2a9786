"""The desired state on disk: services, the spans they hold, the intent of a running change.

One sqlite3 database in a directory of root's own. A change is committed twice: with an intent
before the kernel is touched, and without it after; a database with an intent belongs to a command
that is running or was killed.

Spans are packed, up to a thousand to a row, in order: to change one of a million is to read and
write the one row that it is in, to load a million is to write two thousand rows. Only what returns
or changes everything is slower than O(log n).
"""

import errno
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from os.path import samestat
from typing import Any, Self

from vipctl import files
from vipctl.addresses.few import BITS, WIDTH, Span
from vipctl.addresses.spans import Spans
from vipctl.errors import Missing, Refused, VipctlError
from vipctl.files import Where
from vipctl.services.change import Change, Held, Place, Shape
from vipctl.services.service import Service, from_plain, plain
from vipctl.state.directory import CURES, cure, identity, prepare, trouble

SCHEMA_VERSION = 2
DAMAGED = (
    "the kernel keeps its VIPs meanwhile: put state.db back from a backup; without one move the "
    "directory away, and make the state anew: vipctl restore --force, which ends them, and apply"
)
CHUNK = 512  # spans of a row; twice as many before it is split
FEW = 64  # spans whose rows are looked for one by one

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE service (name TEXT PRIMARY KEY, spec TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE chunk (
    service TEXT NOT NULL,
    version INTEGER NOT NULL,
    plane INTEGER NOT NULL,
    first BLOB NOT NULL,
    spans BLOB NOT NULL,
    PRIMARY KEY (service, version, plane, first)
) WITHOUT ROWID;
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

_CHUNKS = "SELECT spans FROM chunk WHERE service = ? AND version = ? AND plane = ?"
_NEAR = """
SELECT place.service, place.plane, chunk.first, chunk.spans
FROM (SELECT DISTINCT service, version, plane FROM tally WHERE version = :version) AS place
CROSS JOIN chunk USING (service, version, plane)
WHERE chunk.first <= :high AND substr(chunk.spans, -length(:low)) >= :low
AND chunk.first >= ifnull((
    SELECT max(first) FROM chunk AS other
    WHERE other.service = place.service AND other.version = place.version
    AND other.plane = place.plane AND other.first <= :low
), x'')
"""


SAID = {  # what a failure of sqlite's means where nothing is in the way of writing afterwards
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_READONLY: errno.EROFS,
}


class Unwritten(VipctlError):
    """What was to be committed is not: the state is as it was before that.

    Unless it is not `certain`: after a reboot or the next command's look it may turn out to be.
    """

    certain = True


class Store:
    """The database of one state directory. Use `Store.open`, which also creates it."""

    def __init__(self, connection: sqlite3.Connection, directory: Where) -> None:
        self._db = connection
        self._directory = directory
        self._file: os.stat_result | None = None
        self.derived: dict[str, Any] = {}  # what was worked out from the state as it is

    @classmethod
    def open(cls, directory: Where) -> Self:
        """Raises Missing if the directory cannot be used, Refused if it is another version's."""
        prepare(directory)
        previous = os.umask(0o077)
        try:
            if not files.exists(_database(directory)):
                _create(directory)
            db = sqlite3.connect(_database(directory), isolation_level=None)
            store = cls._ready(db, directory)
            store._file = os.stat(_database(directory))
            return store
        except (sqlite3.Error, OSError) as e:
            raise _failure("read", directory, e) from e
        finally:
            os.umask(previous)

    @classmethod
    def read(cls, directory: Where) -> Self:
        """For commands that change nothing: an absent state is an empty one and stays absent."""
        try:
            present = files.exists(_database(directory))
        except PermissionError as e:
            raise Missing(f"the state in {directory} is root's", hint="use sudo") from e
        if present:
            prepare(directory)
            return cls._snapshot(directory)
        db = sqlite3.connect(":memory:", isolation_level=None)
        _define(db)
        return cls._ready(db, directory)

    @classmethod
    def _snapshot(cls, directory: Where) -> Self:
        """One moment of it, whatever others commit meanwhile; of a directory nobody can write too.

        There sqlite cannot make the files that it reads a database with beside it.
        """
        try:
            return cls._begun(sqlite3.connect(_database(directory)), directory)
        except (sqlite3.Error, VipctlError) as e:
            if not _is_for_writing(e) or trouble(directory) is None:
                raise _failure("read", directory, e) from e
        try:
            return cls._begun(_apart(directory), directory)
        except (sqlite3.Error, OSError) as e:
            raise _failure("read", directory, e) from e

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
            raise VipctlError(f"{_database(directory)} holds no state", hint=DAMAGED)
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

    def _rows(
        self, query: str, values: Sequence[object] | Mapping[str, object] = ()
    ) -> Iterator[Any]:
        try:
            yield from self._db.execute(query, values)
        except sqlite3.Error as e:
            raise _failure("read", self._directory, e) from e

    def meta(self, key: str) -> str | None:
        row = next(self._rows("SELECT value FROM meta WHERE key = ?", (key,)), None)
        return None if row is None else str(row[0])

    def intent(self) -> frozenset[int] | None:
        """The marks that an unfinished change touches, or None if all changes are finished."""
        found = self.meta("intent")
        return None if found is None else frozenset(json.loads(found))

    def token(self) -> str:
        """What tells this state directory in the kernel; "" before anything of it was there."""
        return self.meta("token") or ""

    def in_use(self) -> bool:
        """Whether anything of this state is, or may be, in a kernel."""
        return bool(self.services()) or self.intent() is not None

    def services(self) -> Mapping[str, Service]:
        """By name, in order."""
        if "services" not in self.derived:
            rows = self._rows("SELECT name, spec FROM service ORDER BY name")
            self.derived["services"] = {
                name: from_plain(name, json.loads(spec)) for name, spec in rows
            }
        found: Mapping[str, Service] = self.derived["services"]
        return found

    def held(self, service: str | None = None) -> Held:
        """What all services hold, or one."""
        return self._held("1" if service is None else "service = ?", service)

    def _held(self, where: str, *values: object) -> Held:
        found: dict[Place, list[bytes]] = {}
        rows = self._rows(
            f"SELECT service, version, plane, spans FROM chunk WHERE {where} "  # noqa: S608
            "ORDER BY service, version, plane, first",
            [value for value in values if value is not None],
        )
        for *place, spans in rows:
            found.setdefault(Place(*place), []).append(spans)
        return {p: Spans(p.version, b"".join(parts)) for p, parts in found.items()}

    def outermost(self, service: str, version: int) -> Held:
        """The first and the last span in each plane of a service."""
        found = {}
        for place in self._places(service, version):
            ends = [
                Spans(version, spans)
                for order in ("", "DESC")
                for (spans,) in self._rows(f"{_CHUNKS} ORDER BY first {order} LIMIT 1", place)
            ]
            found[place] = Spans.from_pairs(version, (ends[0][0], ends[-1][-1]))
        return found

    def _places(self, service: str, version: int) -> list[Place]:
        rows = self._rows(
            "SELECT DISTINCT plane FROM tally WHERE service = ? AND version = ?",
            (service, version),
        )
        return [Place(service, version, plane) for (plane,) in rows]

    def touching(self, spans: Spans) -> Held:
        """All that shares addresses with the spans or is next to one, of every service."""
        rows = self._near(spans) if len(spans) <= FEW else self._held("version = ?", spans.version)
        found = {place: held.touching(spans) for place, held in rows.items()}
        return {place: near for place, near in found.items() if near}

    def _near(self, spans: Spans) -> Held:
        """The rows, anybody's, where these spans are or have their neighbours."""
        found: dict[Place, dict[bytes, bytes]] = {}
        for span in spans:
            low, high = _with_neighbours(spans.version, span)
            asked = {"version": spans.version, "low": low, "high": high}
            for service, plane, first, row in self._rows(_NEAR, asked):
                found.setdefault(Place(service, spans.version, plane), {})[first] = row
        return {
            place: Spans(place.version, b"".join(rows[first] for first in sorted(rows)))
            for place, rows in found.items()
        }

    def _chunks(self, place: Place, spans: Spans) -> list[bytes]:
        """The rows of a place where these spans are, or have their neighbours, or belong."""
        if len(spans) > FEW:
            return [row[0] for row in self._rows(f"{_CHUNKS} ORDER BY first", place)]
        found: dict[bytes, bytes] = {}
        for span in spans:
            low, high = _with_neighbours(spans.version, span)
            before = f"{_CHUNKS} AND first <= ? ORDER BY first DESC LIMIT 1"
            rows = list(self._rows(before, (*place, low)))
            rows = rows or list(self._rows(f"{_CHUNKS} ORDER BY first LIMIT 1", place))
            rows += self._rows(f"{_CHUNKS} AND first > ? AND first <= ?", (*place, low, high))
            found |= {row[0][: WIDTH[spans.version]]: row[0] for row in rows}
        return [found[first] for first in sorted(found)]

    def tallies(self) -> list[tuple[str, Shape, int]]:
        """How many prefixes of each shape each service has."""
        if "tallies" not in self.derived:
            rows = self._rows("SELECT service, version, plane, length, prefixes FROM tally")
            self.derived["tallies"] = [(name, Shape(*s), count) for name, *s, count in rows]
        found: list[tuple[str, Shape, int]] = self.derived["tallies"]
        return found

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
        """Commits that the kernel is as the state says; `seals` are the methods' digests.

        `sysctls` are those that stay vipctl's: the others have their old values again. `epochs`
        are the methods' at this moment.
        """
        with self._transaction():
            self._keep(sysctls)
            self._set_meta("seals", json.dumps(seals))
            self._set_meta("epochs", json.dumps(epochs or {}))
            self._db.execute("DELETE FROM meta WHERE key = 'intent'")

    def check_there(self) -> None:
        """Raises VipctlError where the next command would not find what was committed."""
        path = _database(self._directory)
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
        with self._transaction():
            self._set_meta("epochs", json.dumps(epochs))

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

    def _edit(self, place: Place, gone: Spans, come: Spans) -> None:
        """Rewrites the rows where these spans are and belong."""
        around = gone | come
        rows = self._chunks(place, around) or [b""]
        if len(around) > FEW:
            self._rewrite(place, rows, gone, come)
        else:
            bounds = [row[: WIDTH[place.version]] for row in rows[1:]]
            for row, *parts in zip(rows, gone.parts(bounds), come.parts(bounds), strict=True):
                self._rewrite(place, [row], *parts)
        self._count(place, gone, -1)
        self._count(place, come, 1)

    def _rewrite(self, place: Place, rows: list[bytes], gone: Spans, come: Spans) -> None:
        """Neighbouring rows become as many as it takes."""
        if not (gone or come):
            return
        size = 2 * WIDTH[place.version]
        all_of_it = Spans(place.version, b"".join(rows)).except_for(gone) | come
        new, number = all_of_it.data, len(all_of_it)
        step = -(-number // (number // CHUNK)) * size if number > 2 * CHUNK else 2 * CHUNK * size
        self._db.executemany(
            "DELETE FROM chunk WHERE service = ? AND version = ? AND plane = ? AND first = ?",
            ((*place, spans[: size // 2]) for spans in rows),
        )
        self._db.executemany(
            "INSERT INTO chunk VALUES (?, ?, ?, ?, ?)",
            (
                (*place, new[at : at + size // 2], new[at : at + step])
                for at in range(0, len(new), step)
            ),
        )

    def _count(self, place: Place, spans: Spans, sign: int) -> None:
        self._db.executemany(
            "INSERT INTO tally VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
            "SET prefixes = prefixes + excluded.prefixes",
            ((*place, length, sign * number) for length, number in spans.lengths().items()),
        )

    def _set_meta(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing. Raises Unwritten where the disk does not take it."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as e:
            self.derived.clear()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(e, sqlite3.Error):
                raise _failure("write", self._directory, e) from e
            raise


def _create(directory: Where) -> None:
    """A database appears whole, or not at all, whoever comes first."""
    from tempfile import TemporaryDirectory

    for remains in ("-wal", "-shm"):  # of one that is gone: not for the new one
        with suppress(FileNotFoundError):
            os.unlink(_database(directory) + remains)
    with TemporaryDirectory(dir=directory, prefix="new-") as scratch:
        db = sqlite3.connect(_database(scratch), isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")  # readers do not wait for writers
        _define(db)
        db.close()
        with suppress(FileExistsError):
            os.link(_database(scratch), _database(directory))


def _database(directory: Where) -> str:
    return f"{os.fspath(directory)}/state.db"


def _changed(services: Mapping[str, Service], change: Change) -> dict[str, Service]:
    gone = {service.name for service in change.before}
    found = {name: service for name, service in services.items() if name not in gone}
    found |= {service.name: service for service in change.after}
    return dict(sorted(found.items()))


def _define(db: sqlite3.Connection) -> None:
    db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def _apart(directory: Where) -> sqlite3.Connection:
    """Reads without writing: the database as it is, or with its journal a copy in memory."""
    from shutil import copyfile
    from tempfile import TemporaryDirectory
    from urllib.parse import quote

    database = _database(directory)
    journal = f"{database}-wal"
    if not (files.exists(journal) and os.stat(journal).st_size):
        return sqlite3.connect(f"file:{quote(database)}?immutable=1", uri=True)
    db = sqlite3.connect(":memory:")
    with TemporaryDirectory() as scratch:
        for end in ("", "-wal"):
            copyfile(database + end, _database(scratch) + end)
        with closing(sqlite3.connect(_database(scratch))) as copy:
            copy.backup(db)
    return db


def _is_for_writing(error: Exception) -> bool:
    """Whether sqlite failed at what it writes, as it does even to read."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (
        *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL),
        *(sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM),
    )


def _failure(verb: str, directory: Where, error: Exception) -> VipctlError:
    """By what the file system says where it says something; else the database is damaged."""
    if isinstance(error, VipctlError):
        return error
    if os.geteuid():
        return Missing(f"the state in {directory} is root's", hint="use sudo")
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_FSYNC:
        return _uncertain(directory)
    kind = Unwritten if verb == "write" else VipctlError
    cause = error if isinstance(error, OSError) else None
    if cause is None and _is_for_writing(error):
        cause = trouble(directory) or _said(error)
    if cause is not None:
        message = f"cannot {verb} the state in {directory}: {cause.strerror}"
        return kind(message, hint=cure(cause))
    return kind(f"cannot {verb} the state in {directory}: {error}", hint=DAMAGED)


def _uncertain(directory: Where) -> Unwritten:
    """All is written, but the disk did not say that it has it."""
    message = f"cannot tell whether the state in {directory} is written: {os.strerror(errno.EIO)}"
    failure = Unwritten(message, hint=CURES[errno.EIO])
    failure.certain = False
    return failure


def _said(error: Exception) -> OSError | None:
    code = SAID.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    return OSError(code, os.strerror(code)) if code else None


def _with_neighbours(version: int, span: Span) -> tuple[bytes, bytes]:
    """The addresses before and behind a span, as far as there are any."""
    first, last = span
    ends = max(first - 1, 0), min(last + 1, (1 << BITS[version]) - 1)
    low, high = (end.to_bytes(WIDTH[version], "big") for end in ends)
    return low, high
