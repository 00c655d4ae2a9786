"""Has the members of the group `vipctl` answered, who read without root.

Each of their commands is a process of its own (`cli.members.answering`), which takes what is asked
from the connection, and prints where the member would. Here they are started: a few at once, while
others wait in the kernel, and with less of the processor than the daemon has.
"""

import asyncio
import grp
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from socket import socket

from vipctl.state import runtime
from vipctl.watch.journal import Trouble

PLACES = 4  # processes at once
NICE = 10  # setpriority(2)
AGAIN = 1.0  # seconds until what failed is tried again


class Members:
    """Of the group as it is now, or after `renew`. `program` is given a connection as its stdin."""

    def __init__(self, program: Sequence[str]) -> None:
        self._program = program
        self._group: int | None = None
        self._link: socket | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._renewed = asyncio.Event()
        self._trouble = Trouble()

    def renew(self) -> None:
        self._renewed.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                self._renewed.clear()
                self._offer(await asyncio.to_thread(_group))
                await self._renewed.wait()
        finally:
            self._close()

    def _offer(self, group: int | None) -> None:
        """Where the group is as it was, so is the socket."""
        if group != self._group:
            self._close()
        if group is None:
            return
        try:
            runtime.let_pass()
            if not self._link:
                self._open(group)
        except OSError as e:
            self._trouble.now(f"the group {runtime.GROUP} is not answered: {e.strerror}")
        else:
            self._trouble.now("")

    def _open(self, group: int) -> None:
        _join(group)
        self._link, self._group = socket(fileno=runtime.offer(group).detach()), group
        self._go_on()

    def _close(self) -> None:
        if self._link:
            asyncio.get_running_loop().remove_reader(self._link)
            self._link.close()
            self._link, self._group = None, None
            Path(runtime.members()).unlink(missing_ok=True)

    def _go_on(self) -> None:
        """Listens, while there is a place."""
        if self._link and len(self._answering) < PLACES:
            asyncio.get_running_loop().add_reader(self._link, self._accept, self._link)

    def _accept(self, link: socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(link)
        try:
            self._begin(link)
        except OSError as e:
            self._trouble.now(f"a member of {runtime.GROUP} is not answered: {e.strerror}")
            loop.call_later(AGAIN, self._go_on)
        else:
            self._trouble.now("")
            self._go_on()

    def _begin(self, link: socket) -> None:
        with suppress(BlockingIOError):  # who called has gone
            connection, _ = link.accept()
            with connection:
                process = subprocess.Popen(  # noqa: S603  this program
                    self._program, stdin=connection.fileno(), stdout=subprocess.DEVNULL
                )
            os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
            task = asyncio.create_task(_ended(process))
            self._answering.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._answering.discard(task)
        self._go_on()


def _group() -> int | None:
    try:
        return grp.getgrnam(runtime.GROUP).gr_gid
    except KeyError:
        return None


def _join(group: int) -> None:
    """Who owns a file may give it to a group of its own, without CAP_CHOWN."""
    groups = os.getgroups()
    if group not in groups:
        os.setgroups([*groups, group])


async def _ended(process: "subprocess.Popen[bytes]") -> None:
    loop = asyncio.get_running_loop()
    ended, handle = asyncio.Event(), os.pidfd_open(process.pid)
    loop.add_reader(handle, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)
        process.poll()
