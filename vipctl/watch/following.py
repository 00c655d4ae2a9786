"""Services that only one director may serve, and which of them that is: keepalived tells by a FIFO.

keepalived writes a line there whenever VRRP has another state. When it ends or reads its
configuration anew, nothing is known of it for a while, and nothing changes.
"""

import asyncio
import os
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from vipctl.errors import Missing, Refused, VipctlError
from vipctl.files import Where
from vipctl.health.vrrp import MASTER, Vrrp
from vipctl.operate.controller import Controller
from vipctl.state import database
from vipctl.watch.journal import Level, Trouble, say
from vipctl.watch.waiting import until

EVERY = 1.0  # seconds between two looks at whether services, or the FIFO, are others
LARGEST = 1 << 16  # bytes that a FIFO holds


class Following:
    """Makes the FIFO, if need be. Raises Missing; Refused if it is none, or others may write there.

    `own` are the threads whose changes are this daemon's own; `tell` is told VRRP's state.
    """

    def __init__(
        self, state_dir: Where, path: str, own: set[int], tell: Callable[[str], None]
    ) -> None:
        self._state_dir, self._path, self._own, self._tell = state_dir, path, own, tell
        self._vrrp, self._rest = Vrrp(), b""
        self._woken = asyncio.Event()
        self._done: tuple[str, database.Stamp | None] = "", None
        self._trouble = Trouble()
        self._file = _opened(path)
        tell(self._vrrp.state)

    async def run(self) -> None:
        """Until it is cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._file, self._hear)
        try:
            while True:
                self._woken.clear()
                await self._look()
                await until(self._woken, time.monotonic() + EVERY)
        finally:
            loop.remove_reader(self._file)
            os.close(self._file)

    async def _look(self) -> None:
        try:
            self._stay_there()
            await self._follow()
            problem = ""
        except VipctlError as e:
            problem = f"roles do not follow VRRP: {e.in_a_line}"
        self._trouble.now(problem)

    def _stay_there(self) -> None:
        """keepalived takes away a FIFO that it has made, and makes another."""
        with suppress(FileNotFoundError):
            if os.path.samestat(Path(self._path).lstat(), os.fstat(self._file)):
                return
        loop, before, self._file = asyncio.get_running_loop(), self._file, _opened(self._path)
        loop.remove_reader(before)
        os.close(before)
        loop.add_reader(self._file, self._hear)

    def _hear(self) -> None:
        before, found = self._vrrp.state, b""
        with suppress(BlockingIOError):  # another reader was faster
            found = os.read(self._file, LARGEST)
        *lines, self._rest = (self._rest[-LARGEST:] + found).split(b"\n")
        for line in lines:
            self._vrrp.hear(line.decode(errors="replace"))
        if self._vrrp.state != before:
            self._tell(self._vrrp.state)
            self._woken.set()

    async def _follow(self) -> None:
        state = self._vrrp.state
        wanted = state, database.stamp(self._state_dir)
        if state and wanted != self._done:
            await asyncio.to_thread(self._switch, state)
            self._done = wanted

    def _switch(self, state: str) -> None:
        self._own.add(threading.get_native_id())
        old, new = Controller(self._state_dir).follow(passive=state != MASTER).change.role
        if names := ", ".join(sorted(old.services ^ new.services)):
            become = "active" if state == MASTER else "passive"
            say(Level.NOTICE, f"VRRP is {state}: {become} for {names}")


def _opened(path: str) -> int:
    """For both ends, so that it never ends."""
    try:
        with suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        file = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as e:
        what = f"cannot use {path}: {e.strerror}"
        raise Missing(what, hint="name a FIFO in a directory that is there") from e
    found = os.fstat(file)
    if (
        not stat.S_ISFIFO(found.st_mode)
        or found.st_uid not in (0, os.geteuid())
        or found.st_mode & 0o022
    ):
        os.close(file)
        raise Refused(
            f"{path} is no FIFO that root alone writes",
            hint="name one that does not exist: it is made",
        )
    return file
