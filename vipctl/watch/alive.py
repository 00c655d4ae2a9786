"""A dead-man's switch: a device that is up while this director is fit, and gone with this process.

Others follow it: keepalived (track_interface), and routes of BIRD and FRR. The kernel accepts what
is for VIPs all the same, so nothing is lost until they have.
"""

import asyncio
import time
from collections.abc import Callable, Iterable

from vipctl.errors import VipctlError
from vipctl.files import Where
from vipctl.health.fitness import KEEP, Fitness, Reason
from vipctl.health.verdicts import Verdicts
from vipctl.linux import devices
from vipctl.operate.fitness import Examined, Examining, Needs
from vipctl.operate.watching import Looked
from vipctl.watch.callers import Callers
from vipctl.watch.journal import Level, say
from vipctl.watch.waiting import until

SOON = 0.05  # seconds in which what happens is one thing
EVERY = 1.0  # seconds between two looks at what nobody tells of
FIRST = 30.0  # seconds that health checks may take for their first answers
DRIFT = 5.0  # seconds that what others change may stay so


class Alive:
    """Holds the device; goes by what health checks `said`.

    Raises Missing, or Refused if there is a device of that name.
    """

    def __init__(
        self, state_dir: Where, needs: Needs, callers: Callers, said: Callable[[], Verdicts]
    ) -> None:
        self.needs, self.callers, self.verdicts = needs, callers, said
        self.examining = Examining(state_dir, needs)
        self.device = devices.Held(needs.device)
        self.begun = 0.0
        self.fitness = Fitness()
        self.woken = asyncio.Event()
        self.drift: list[Reason] = []
        self.said: set[Reason] = set()  # since it became unfit
        self._tell(())

    async def run(self) -> None:
        """From the first look on, until it is cancelled; then the device goes at once."""
        self.begun = time.monotonic()
        try:
            while True:
                self.woken.clear()
                await self._follow()
                await until(self.woken, time.monotonic() + EVERY)
                await asyncio.sleep(SOON)
        finally:
            self.device.close()
            if self.fitness.fit:
                say(Level.NOTICE, f"{self.needs.device} is gone: vipctl watch ends")

    def failed(self, error: VipctlError) -> None:
        """A look at the kernel said nothing: what was known holds."""
        known = [one for one in self.drift if one.patience != KEEP]
        self._drifts([*known, Reason("the kernel is not known", error.message, KEEP)])

    def looked(self, looked: Looked, hidden: frozenset[str]) -> None:
        """What is not as it is stored, and stays so."""
        left = looked.differing if looked.undone or not looked.healed else frozenset()
        differs = ", ".join(sorted(left | hidden))
        lacks = "; ".join(looked.unserved)
        drift = ("what others change stays so", differs), ("not all VIPs are served", lacks)
        self._drifts([Reason(what, details, DRIFT) for what, details in drift if details])

    def _drifts(self, drift: list[Reason]) -> None:
        self.drift = drift
        self.woken.set()

    async def _follow(self) -> None:
        first = time.monotonic() < self.begun + FIRST
        examine = self.examining.examine
        found = await asyncio.to_thread(examine, self.verdicts(), first=first)
        self._judge(found._replace(reasons=[*self.drift, *self._touched(), *found.reasons]))

    def _touched(self) -> list[Reason]:
        """What somebody else has done to the device; it is made again."""
        name = self.needs.device
        if not self.device.exists():
            try:
                self.device.make_again()
            except VipctlError as error:
                return [Reason(f"there is no {name}", error.message)]
            return [Reason(f"somebody has deleted {name}")]
        down = self.fitness.fit and not devices.is_up(name)
        return [Reason(f"somebody has set {name} down")] if down else []

    def _judge(self, found: Examined) -> None:
        was = self.fitness.fit
        against = self.fitness.judge(found.reasons, found.calm, time.monotonic())
        fit, name = self.fitness.fit, self.needs.device
        if self.device.exists() and devices.is_up(name) != fit:
            self.device.set(up=fit)
        if fit and not was:
            say(Level.NOTICE, f"{name} is up: this director is fit")
        if was and not fit:
            say(Level.ERROR, f"{name} is down: {_listed(against)}")
            self.said = set(against)
        if not (was or fit) and (more := [one for one in against if one not in self.said]):
            say(Level.WARNING, f"{name} stays down: {_listed(more)}")
            self.said |= set(more)
        self._tell(against)

    def _tell(self, against: tuple[Reason, ...]) -> None:
        self.callers.stands(self.needs.device, fit=self.fitness.fit, why=[*map(str, against)])


def _listed(reasons: Iterable[Reason]) -> str:
    return "; ".join(map(str, reasons))
