"""Asks real servers as they are due, and has IPVS follow what that says."""

import asyncio
import resource
import time
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from random import Random

from vipctl.errors import VipctlError
from vipctl.health.feedback import PERIOD
from vipctl.health.judging import Errand
from vipctl.health.machine import Health
from vipctl.health.saying import Said, Weight, changes
from vipctl.health.schedule import Schedule
from vipctl.health.verdicts import Verdicts
from vipctl.operate.weighing import NOTHING, Weighing
from vipctl.probing import TOGETHER, consult, probe, probe_all
from vipctl.probing.limits import not_heard
from vipctl.services.agents import Agent, Heard
from vipctl.services.checks import Answer
from vipctl.state.database import Stamp
from vipctl.watch.journal import Level, say
from vipctl.watch.lag import Lag
from vipctl.watch.waiting import until

MOST = 1000  # asked at the same time
SPARE = 100  # descriptors for all else
GATHER = 0.02  # seconds by which a question may be early, to be asked with others
AT_ONCE = 0.05  # seconds in which what changes is written at once
AGAIN = 1.0  # seconds until what could not be written is tried again
LATE = 0.1  # of its timeout, by which the loop may be late while an agent is asked
STOOD_STILL = 0.5  # the same where the kernel answers for the loop, which looks when time is over
LEVELS = {
    Weight.CHANGE: Level.NOTICE, Weight.DOUBT: Level.WARNING, Weight.TROUBLE: Level.ERROR,
}  # fmt: skip


class Checker:
    """All checks of one state directory."""

    def __init__(self, weighing: Weighing) -> None:
        self.weighing, self.lag = weighing, Lag()
        self.said = weighing.before()
        self.health, self.schedule = Health(self.said), Schedule(Random())  # noqa: S311
        self._asking: set[Errand] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._again: set[Errand] = set()  # due before they were answered
        self._waiting: dict[Errand, None] = {}  # in this order, until fewer are asked
        self._most = _most()
        self._planned, self._changed = asyncio.Event(), asyncio.Event()
        self._stamp: Stamp | None = None
        self._learnt = NOTHING

    async def run(self) -> None:
        """Until it is cancelled. What it has said stays."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for work in (self.lag.measure(), self._ask(), self._follow(), self._balance()):
                    tasks.create_task(work)
        finally:
            self._forget()

    def _forget(self) -> None:
        """Leaves nothing of its own in IPVS; where that fails, the next start finds it."""
        if self._learnt.marks:
            with suppress(VipctlError):
                self.weighing.forget()

    async def learn(self) -> None:
        """Takes note of what is stored now, if that is other than before. Raises VipctlError."""
        stamp = self.weighing.stamp()
        if stamp == self._stamp and not await asyncio.to_thread(self.weighing.lost, self._learnt):
            return
        self._learnt = await asyncio.to_thread(self.weighing.learn)
        self._stamp, now = stamp, time.monotonic()
        self.schedule.learn(self.health.learn(*self._learnt, now), now)
        self._planned.set()
        self._changed.set()

    async def _ask(self) -> None:
        while True:
            await until(self._planned, self.schedule.next())
            self._planned.clear()
            self._begin(self.schedule.due(time.monotonic() + GATHER))

    def _begin(self, errands: Iterable[Errand]) -> None:
        alike: defaultdict[float, list[Errand]] = defaultdict(list)  # by timeout
        for errand in filter(self._is_free, errands):
            self._asking.add(errand)
            if errand.check.kind == TOGETHER:
                alike[errand.check.timeout].append(errand)
            else:
                self._work(self._one(errand))
        for some in alike.values():
            self._work(self._some(some))

    def _is_free(self, errand: Errand) -> bool:
        """Whether it can be asked now; if not, it is when another has been."""
        if errand in self._asking:
            self._again.add(errand)
            return False
        if len(self._asking) >= self._most:
            self._waiting[errand] = None
            return False
        return True

    def _work(self, asking: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(asking)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _one(self, errand: Errand) -> None:
        if isinstance(errand.check, Agent):
            begun = self.lag.total()
            self._heard(errand, await consult(errand.target, errand.check), begun)
        else:
            self._answered(errand, await probe(errand.target, errand.check, self.lag.total))

    async def _some(self, errands: Sequence[Errand]) -> None:
        begun = self.lag.total()

        def told(errand: Errand, answer: Answer) -> None:
            late = self.lag.total() - begun
            if answer.passed is False and late > STOOD_STILL * errand.check.timeout:
                answer = Answer(None, not_heard(late))
            self._answered(errand, answer)

        await probe_all(errands, told)

    def _answered(self, errand: Errand, answer: Answer) -> None:
        if self.health.answered(errand, answer, time.monotonic()):
            self._changed.set()
        self._done(errand)

    def _heard(self, errand: Errand, heard: Heard, begun: float) -> None:
        """What an agent says counts, however late; that it says nothing, if we are not late."""
        late = self.lag.total() - begun > LATE * errand.check.timeout
        if not (heard.words is None and late) and self.health.heard(
            errand, heard, time.monotonic()
        ):
            self._changed.set()
        self._done(errand)

    def _done(self, errand: Errand) -> None:
        self._asking.discard(errand)
        self._go_on(errand)

    def _go_on(self, errand: Errand) -> None:
        """Asks who has waited for this one's end."""
        if errand in self._again:
            self._again.discard(errand)
            self._begin([errand])
        elif self._waiting:
            first = next(iter(self._waiting))
            del self._waiting[first]
            self._begin([first])

    async def _balance(self) -> None:
        """The steps of services with feedback. Where IPVS counts nothing, their guard rests."""
        while True:
            await asyncio.sleep(PERIOD)
            services, totals = self.health.balance.services, {}
            if not services:
                continue
            with suppress(VipctlError):
                totals = await asyncio.to_thread(self.weighing.counted, services)
            if self.health.step(totals, time.monotonic()):
                self._changed.set()

    async def _follow(self) -> None:
        while True:
            await until(self._changed, self.health.next_change(time.monotonic()))
            await asyncio.sleep(AT_ONCE)
            self._changed.clear()
            await self._say(self.health.verdicts(time.monotonic()))

    async def _say(self, verdicts: Verdicts) -> None:
        if verdicts == self.said:
            return
        try:
            refused = await asyncio.to_thread(self.weighing.follow, self.said, verdicts)
        except VipctlError as e:
            say(Level.ERROR, f"what health checks say is not followed: {e.message}")
            asyncio.get_running_loop().call_later(AGAIN, self._changed.set)
            return
        for said in changes(self.said, verdicts):
            tell(said)
        for error in refused:
            say(Level.ERROR, f"IPVS does not follow health checks: {error.message}")
        self.said = verdicts


def tell(said: Said) -> None:
    """One entry of the log, with fields."""
    fields = {"SERVICE": said.service, "REAL": said.real, "CHECK": "; ".join(said.checks)}
    say(LEVELS[said.weight], said.text, **{name: value for name, value in fields.items() if value})


def _most() -> int:
    """As many as there are descriptors for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST + SPARE
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(MOST, soft - SPARE))
