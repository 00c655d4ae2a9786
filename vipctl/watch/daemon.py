"""The daemon's loop: hear, wait until it is quiet, look, heal, say what was done."""

import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import Collection, Iterable, Sequence

from vipctl import methods
from vipctl.errors import VipctlError
from vipctl.health.verdicts import NONE, Verdicts
from vipctl.linux import events
from vipctl.linux.events import Heard, Source
from vipctl.operate.fitness import Needs
from vipctl.operate.watching import Looked, Watching
from vipctl.operate.weighing import Weighing
from vipctl.state import runtime
from vipctl.watch import scrapes, systemd
from vipctl.watch.alive import Alive
from vipctl.watch.callers import Callers
from vipctl.watch.checker import Checker
from vipctl.watch.following import Following
from vipctl.watch.journal import Level, say
from vipctl.watch.members import Members
from vipctl.watch.patience import Patience
from vipctl.watch.waiting import until

QUIET = 0.05  # seconds without a change, after which a burst is over
BURST = 0.4  # seconds after which it is looked at all the same
STANDING_ON = ("addresses", "links", events.LOST.what)  # what tells of own addresses
AGAIN = " (it comes and goes again and again, and is said less often now)"
UNANNOUNCED = 300.0  # seconds between comparisons of prefixes that can change without a sign


class Daemon:
    """Of one state directory and one network namespace. It looks every so many seconds unasked."""

    def __init__(
        self,
        watching: Watching,
        every: float,
        link: runtime.Link,
        needs: Needs | None,
        vrrp: str | None,
        answering: Sequence[str],
    ) -> None:
        self.watching, self.every = watching, every
        self.callers = Callers(link, watching.state_dir, check=watching.check)
        self.own: set[int] = {os.getpid()}  # processes, and threads, in the kernel's words
        self.checker = None if watching.check else Checker(Weighing(watching.state_dir))
        self.alive = self._alive(needs) if needs else None
        self.following = self._following(vrrp) if vrrp else None
        self.members = Members(answering)
        self.patience = Patience()
        self.sources: Sequence[Source] = ()
        self.deaf = False
        self.heard: list[Heard] = []
        self.told: Sequence[Heard] = ()  # of these, what has been said as the cause already
        self.compared = time.monotonic()
        self.hidden: frozenset[str] = frozenset()  # what differs, and is found by comparing alone
        self.woken, self.ended = asyncio.Event(), asyncio.Event()
        self.moved = True  # addresses, or VIPs, since `own_vips` was told
        self.own_vips: tuple[str, ...] = ()
        self.said: set[str] = set()  # problems that are known
        self.flapping = Patience()  # of problems
        self.unlearnt = ""  # why checks go by what was stored before

    def _alive(self, needs: Needs) -> Alive:
        return Alive(self.watching.state_dir, needs, self.callers, self._verdicts)

    def _following(self, fifo: str) -> Following:
        return Following(self.watching.state_dir, fifo, self.own, self.callers.follows)

    def _verdicts(self) -> Verdicts:
        return self.checker.said if self.checker else NONE

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; SIGHUP has it look at once, for the group of readers too."""
        gc.enable()  # each check that fails leaves a circle of objects
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        with events.listening() as self.sources:
            for source in self.sources:
                loop.add_reader(source.fileno(), self._hear, source)
            loop.add_reader(self.callers.fileno(), self._receive)
            alive = asyncio.create_task(systemd.stay_alive())
            try:
                await self._watch()
            finally:
                systemd.notify("STOPPING=1")
                alive.cancel()
                for source in self.sources:
                    loop.remove_reader(source.fileno())
                loop.remove_reader(self.callers.fileno())

    async def _watch(self) -> None:
        await self._look(methods.PARTS)
        say(Level.NOTICE, "watching")
        systemd.notify("READY=1", "STATUS=watching")
        async with asyncio.TaskGroup() as tasks:  # what fails ends all: the next start goes on
            all_of_them = self.alive, self.checker, self.following, self.members
            beside = [tasks.create_task(one.run()) for one in all_of_them if one]
            await self._go_on()
            for task in beside:
                task.cancel()

    async def _go_on(self) -> None:
        while not self.ended.is_set():
            await self._something()
            for source in self.sources:  # after SIGCONT, timers come before what has been sent
                self._hear(source)
            heard, self.heard = self.heard, []
            if not self.ended.is_set():
                await self._look(self._whole(heard), heard)

    def _whole(self, heard: Iterable[Heard]) -> Sequence[str]:
        """The methods of which every prefix is to be compared."""
        now = time.monotonic()
        waited = not self.watching.check and self.hidden - self.patience.spared(now)
        wanted = waited or any(one.prefixes for one in heard)
        if not wanted and now - self.compared < UNANNOUNCED:
            return ()
        self.compared = now
        return methods.PARTS if wanted else methods.UNCOUNTED

    async def _something(self) -> None:
        """Waits until it is time to look."""
        now = time.monotonic()
        soon = self.patience.next(now)
        await until(self.woken, now + (self.every if soon is None else min(self.every, soon)))
        deadline = time.monotonic() + BURST
        while self.woken.is_set() and time.monotonic() < deadline and not self.ended.is_set():
            self.woken.clear()
            await until(self.woken, time.monotonic() + QUIET)
        self.woken.clear()

    async def _look(self, whole: Sequence[str], heard: Iterable[Heard] = ()) -> None:
        try:
            looked = await self._healed(whole)
            if self.moved:
                self.moved = False
                self.own_vips = await asyncio.to_thread(self.watching.own_vips)
        except VipctlError as error:
            self._say_once({error.in_a_line, *self.own_vips})
            if self.alive:
                self.alive.failed(error)
        else:
            self._remember(looked, whole)
            self._report(looked, self._theirs([*heard, *self.heard]))
            self.told = tuple(self.heard) if looked.healed else ()
            if self.alive:
                self.alive.looked(looked, self.hidden)
            await self._learn()

    def _remember(self, looked: Looked, whole: Sequence[str]) -> None:
        """What later looks do not find, as they do not compare every prefix."""
        put_back = looked.differing if looked.healed else frozenset()
        before = frozenset() if whole == methods.PARTS else self.hidden - put_back
        self.hidden = before | looked.hidden

    async def _healed(self, whole: Sequence[str]) -> Looked:
        spare = self.patience.spared(time.monotonic())
        try:
            return await asyncio.to_thread(self._heal, whole, spare)
        finally:
            self._listen_again()

    async def _learn(self) -> None:
        """Has health checks know what is stored."""
        problem = ""
        try:
            if self.checker:
                await self.checker.learn()
        except VipctlError as error:
            problem = f"health checks do not go by what is stored: {error.in_a_line}"
        if problem and problem != self.unlearnt:
            say(Level.ERROR, problem)
        self.unlearnt = problem

    def _heal(self, whole: Sequence[str], spare: Collection[str]) -> Looked:
        self.own.add(threading.get_native_id())
        return self.watching.heal(whole, spare)

    def _theirs(self, heard: Iterable[Heard]) -> list[Heard]:
        """What neither the daemon nor a command has done: each tells of it before it ends."""
        self._receive()
        ours = self.own | self.callers.changed()
        theirs = (one for one in heard if not one.ours and one.pid not in ours)
        return [one for one in theirs if one not in self.told]

    def _report(self, looked: Looked, heard: Iterable[Heard]) -> None:
        by = " ".join(sorted({events.who(one) for one in heard} - {""}))
        if looked.healed:
            said = f"put back: {_listed(looked.differing)}{_because(heard)}"
            say(Level.NOTICE, said, BY=by)
            self.callers.did(said)
        if looked.healed or looked.undone:
            fought = self.patience.healed(looked.differing, time.monotonic())
            if fought:
                words = f"changed again and again, and put back less often now: {_listed(fought)}"
                say(Level.WARNING, f"{words}{_because(heard)}", BY=by)
        left = looked.differing | self.hidden if self.watching.check else ()
        differing = (f"differs, and is left so: {one}" for one in left)
        self._say_once({*looked.problems, *differing, *self.own_vips})

    def _say_once(self, problems: set[str]) -> None:
        """Each when it comes, and when it has gone; less often if it does so again and again."""
        now = time.monotonic()
        unsaid = self.flapping.spared(now)
        coming = sorted(problems - self.said - unsaid)
        often = self.flapping.healed(coming, now)
        for text in coming:
            say(Level.ERROR, f"{text}{AGAIN if text in often else ''}")
        for text in sorted(self.said - problems - unsaid):
            say(Level.NOTICE, f"no longer: {text}")
        self.said = (problems - unsaid) | (self.said & unsaid)

    def _hear(self, source: Source) -> None:
        self._note(source.heard())

    def _note(self, heard: Iterable[Heard]) -> None:
        found = list(heard)
        if found:
            self.heard = list(dict.fromkeys([*self.heard, *found]))
            self._changed(addresses=any(one.what in STANDING_ON for one in found))

    def _stop_listening(self) -> None:
        """While prefixes are loaded by the thousand: the kernel takes a page to tell of each.

        The next look waits for who loads them.
        """
        for source in self.sources:
            source.stop()
        self.deaf = True
        self._note([events.LOST])

    def _listen_again(self) -> None:
        """And look at what nothing was heard of."""
        if self.deaf:
            for source in self.sources:
                source.listen()
            self.deaf = False
            self._note([events.LOST])

    def _changed(self, *, addresses: bool) -> None:
        """Something may be other than before, addresses and VIPs too if it says so."""
        self.moved |= addresses
        self.woken.set()
        if self.alive:
            self.alive.woken.set()

    def _receive(self) -> None:
        told = self.callers.receive()
        if runtime.LOADING in told:
            self._stop_listening()
        if told:
            self._changed(addresses=True)

    def _reload(self) -> None:
        self.members.renew()
        self.woken.set()

    def _end(self) -> None:
        self.ended.set()
        self.woken.set()


def run(
    watching: Watching,
    every: float,
    needs: Needs | None,
    listener: scrapes.Listener | None,
    vrrp: str | None,
    answering: Sequence[str],
) -> None:
    """Watches until the process is asked to end. `answering` is what members of the group get."""
    with runtime.serving() as link, scrapes.answered(watching.state_dir, listener):
        asyncio.run(Daemon(watching, every, link, needs, vrrp, answering).run())


def _listed(things: Iterable[str]) -> str:
    return ", ".join(sorted(things))


def _because(heard: Iterable[Heard]) -> str:
    """What the kernel has announced, and whose doing it says that this was."""
    named = ((one.what, events.who(one)) for one in heard)
    told = dict.fromkeys(f"{what} by {by}" if by else what for what, by in named)
    return f" (the kernel told of {', '.join(told)})" if told else ""
