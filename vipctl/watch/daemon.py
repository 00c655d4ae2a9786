"""The daemon's loop: hear, wait until it is quiet, look, heal, say what was done."""

import asyncio
import signal
import time
from collections.abc import Iterable, Sequence

from vipctl import methods
from vipctl.errors import VipctlError
from vipctl.linux import events
from vipctl.linux.events import Heard
from vipctl.operate.watching import Looked, Watching
from vipctl.state.directory import alone
from vipctl.watch import systemd
from vipctl.watch.journal import Level, say
from vipctl.watch.patience import Patience

QUIET = 0.05  # seconds without a change, after which a burst is over
BURST = 0.4  # seconds after which it is looked at all the same
UNANNOUNCED = 300.0  # seconds between comparisons of prefixes that can change without a sign


class Daemon:
    """Of one state directory and one network namespace. It looks every so many seconds unasked."""

    def __init__(self, watching: Watching, every: float) -> None:
        self.watching, self.every = watching, every
        self.patience = Patience()
        self.heard: list[Heard] = []
        self.compared = time.monotonic()
        self.woken, self.ended = asyncio.Event(), asyncio.Event()
        self.said: set[str] = set()  # problems that are known

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; SIGHUP has it look at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self.woken.set)
        with events.listening() as sources:
            for source in sources:
                loop.add_reader(source.fileno(), self._hear, source)
            alive = asyncio.create_task(_stay_alive())
            try:
                await self._watch()
            finally:
                systemd.notify("STOPPING=1")
                alive.cancel()
                for source in sources:
                    loop.remove_reader(source.fileno())

    async def _watch(self) -> None:
        await self._look(methods.PARTS)
        say(Level.NOTICE, "watching")
        systemd.notify("READY=1", "STATUS=watching")
        while not self.ended.is_set():
            await self._something()
            heard, self.heard = self.heard, []
            if not self.ended.is_set():
                await self._look(self._whole(heard), heard)

    def _whole(self, heard: Iterable[Heard]) -> Sequence[str]:
        """The methods of which every prefix is to be compared."""
        announced, now = any(one.prefixes for one in heard), time.monotonic()
        if not announced and now - self.compared < UNANNOUNCED:
            return ()
        self.compared = now
        return methods.PARTS if announced else methods.UNCOUNTED

    async def _something(self) -> None:
        """Waits until it is time to look."""
        soon = self.patience.next(time.monotonic())
        limit = self.every if soon is None else min(self.every, soon)
        await _wait(self.woken, limit)
        deadline = time.monotonic() + BURST
        while self.woken.is_set() and time.monotonic() < deadline and not self.ended.is_set():
            self.woken.clear()
            await _wait(self.woken, QUIET)
        self.woken.clear()

    async def _look(self, whole: Sequence[str], heard: Iterable[Heard] = ()) -> None:
        spare = self.patience.spared(time.monotonic())
        try:
            looked = await asyncio.to_thread(self.watching.heal, whole, spare)
        except VipctlError as error:
            self._say_once({_words(error)})
        else:
            self._report(looked, heard)

    def _report(self, looked: Looked, heard: Iterable[Heard]) -> None:
        by = " ".join(sorted({one.by for one in heard if one.by}))
        if looked.healed:
            said = f"put back: {_listed(looked.differing)}{_because(heard)}"
            say(Level.NOTICE, said, BY=by)
            fought = self.patience.healed(looked.differing, time.monotonic())
            if fought:
                words = f"changed again and again, and put back less often now: {_listed(fought)}"
                say(Level.WARNING, words, BY=by)
        left = looked.differing if self.watching.check else ()
        self._say_once({*looked.problems, *(f"differs, and is left so: {one}" for one in left)})

    def _say_once(self, problems: set[str]) -> None:
        """Each when it comes, and when it has gone."""
        for text in sorted(problems - self.said):
            say(Level.ERROR, text)
        for text in sorted(self.said - problems):
            say(Level.NOTICE, f"no longer: {text}")
        self.said = problems

    def _hear(self, source: events.Source) -> None:
        found = list(source.heard())
        if found:
            self.heard += found
            self.woken.set()

    def _end(self) -> None:
        self.ended.set()
        self.woken.set()


def run(watching: Watching, every: float) -> None:
    """Watches until the process is asked to end."""
    with alone(watching.state_dir):
        asyncio.run(Daemon(watching, every).run())


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


async def _stay_alive() -> None:
    """Signs of life, as long as the loop turns."""
    seconds = systemd.watchdog()
    while seconds:
        systemd.notify("WATCHDOG=1")
        await asyncio.sleep(seconds)


def _listed(things: Iterable[str]) -> str:
    return ", ".join(sorted(things))


def _because(heard: Iterable[Heard]) -> str:
    """What the kernel has announced, and whose doing it says that this was."""
    told = dict.fromkeys(f"{one.what} by {one.by}" if one.by else one.what for one in heard)
    return f" (the kernel told of {', '.join(told)})" if told else ""


def _words(error: VipctlError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
