"""The database file: creating it, reading it where nobody can write, and naming its failures."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress

from vipctl import files
from vipctl.errors import Missing, VipctlError
from vipctl.files import Where
from vipctl.state.directory import CURES, cure, trouble

Stamp = tuple[tuple[int, int, int], ...]
SCHEMA_VERSION = 2
DAMAGED = (
    "the kernel keeps its VIPs meanwhile: put state.db back from a backup; without a backup, move "
    "the directory away, run vipctl restore --force, which ends these VIPs, and apply your file"
)

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
HELD = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
SAID = {  # sqlite's failures as errnos, for when a test of the directory finds nothing wrong
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_READONLY: errno.EROFS,
}


class Unwritten(VipctlError):
    """A commit failed: the state is as it was before.

    If `certain` is False, the disk did not confirm the commit, and it may have succeeded: only the
    next command, or a reboot, shows.
    """

    certain = True


def stamp(directory: Where) -> Stamp:
    """Of what has been committed: another after each commit."""
    return tuple(_stamps(path(directory), path(directory) + "-wal"))


def _stamps(*paths: str) -> Iterator[tuple[int, int, int]]:
    for one in paths:
        with suppress(FileNotFoundError):
            info = os.stat(one)
            yield info.st_ino, info.st_size, info.st_mtime_ns


def create(directory: Where) -> None:
    """Creates the database, whole or not at all; one that another command made first stays."""
    from tempfile import TemporaryDirectory

    for remains in ("-wal", "-shm"):  # left by a deleted database: sqlite would read them
        with suppress(FileNotFoundError):
            os.unlink(path(directory) + remains)
    with TemporaryDirectory(dir=directory, prefix="new-") as scratch:
        db = sqlite3.connect(path(scratch), isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")  # readers do not wait for writers
        define(db)
        db.close()
        with suppress(FileExistsError):
            os.link(path(scratch), path(directory))


def path(directory: Where) -> str:
    return f"{os.fspath(directory)}/state.db"


def define(db: sqlite3.Connection) -> None:
    db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def apart(directory: Where) -> sqlite3.Connection:
    """Opens the database without writing beside it; one that has a journal, as a copy in memory."""
    from shutil import copyfile
    from tempfile import TemporaryDirectory
    from urllib.parse import quote

    database = path(directory)
    journal = f"{database}-wal"
    if not (files.exists(journal) and os.stat(journal).st_size):
        return sqlite3.connect(f"file:{quote(database)}?immutable=1", uri=True)
    db = sqlite3.connect(":memory:")
    with TemporaryDirectory() as scratch:
        for end in ("", "-wal"):
            copyfile(database + end, path(scratch) + end)
        with closing(sqlite3.connect(path(scratch))) as copy:
            copy.backup(db)
    return db


def is_for_writing(error: Exception) -> bool:
    """Whether sqlite failed because it could not write, which it does even to read."""
    return _code(error) in (
        *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL),
        *(sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM),
    )


def _code(error: Exception) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def failure(verb: str, directory: Where, error: Exception) -> VipctlError:
    """The error to raise: with the file system's reason if it has one, else "damaged"."""
    if isinstance(error, VipctlError):
        return error
    if os.geteuid():
        return Missing(f"the state in {directory} is root's", hint="use sudo")
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_FSYNC:
        return _uncertain(directory)
    kind = Unwritten if verb == "write" else VipctlError
    if _code(error) in HELD:
        return kind(
            f"cannot {verb} the state in {directory}: another process has it locked",
            hint=f"see who: fuser -v {path(directory)}; one that is stopped goes on by kill -CONT",
        )
    cause = error if isinstance(error, OSError) else None
    if cause is None and is_for_writing(error):
        cause = trouble(directory) or _said(error)
    if cause is not None:
        message = f"cannot {verb} the state in {directory}: {cause.strerror}"
        return kind(message, hint=cure(cause))
    return kind(f"cannot {verb} the state in {directory}: {error}", hint=DAMAGED)


def _uncertain(directory: Where) -> Unwritten:
    """All is written, but the disk did not confirm it."""
    message = f"cannot tell whether the state in {directory} is written: {os.strerror(errno.EIO)}"
    failure = Unwritten(message, hint=CURES[errno.EIO])
    failure.certain = False
    return failure


def _said(error: Exception) -> OSError | None:
    code = SAID.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    return OSError(code, os.strerror(code)) if code else None
