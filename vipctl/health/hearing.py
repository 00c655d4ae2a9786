"""What holds of what agents of real servers have said: only an agent takes back what it said."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from vipctl.health.judging import Errand
from vipctl.health.verdicts import Finding, Told, Verdict
from vipctl.services.agents import Heard, Running, Words
from vipctl.services.checks import Target
from vipctl.services.service import Service

Real = tuple[str, str]  # service, endpoint
SILENT = 3  # times in a row that an agent cannot be heard before that is said


class Hearing(NamedTuple):
    """What one agent has said, when it was heard last, and how often in vain since."""

    told: Told = Told()
    at: float | None = None
    silent: int = 0
    measured: float | None = None  # when it said a percentage last

    @property
    def counts(self) -> bool:
        """Whether it has said anything of whether the real server works."""
        return self.at is not None or self.told.running is not Running.UP

    @property
    def finding(self) -> Finding:
        told, passed = self.told, self.told.running is Running.UP if self.counts else None
        why = f"says {told.state}{f': {told.why}' if told.why else ''}" if self.counts else ""
        return Finding(passed, told.since, why, told.doubt)


def hear(known: Hearing, heard: Heard, now: float) -> Hearing:
    """What holds after asking once more; no answer changes nothing."""
    told = known.told
    if heard.words is None:
        silent = known.silent + 1
        doubt = heard.why if silent >= SILENT and not told.doubt else told.doubt
        return known._replace(told=told._replace(doubt=doubt), silent=silent)
    measured = known.measured if heard.words.percent is None else now
    return Hearing(_after(told, heard.words, now), now, measured=measured)


def _after(told: Told, words: Words, now: float) -> Told:
    unknown = f"it says {words.unknown!r}, which is no word of agents" if words.unknown else ""
    said = told._replace(
        percent=told.percent if words.percent is None else words.percent,
        admin=words.admin or told.admin,
        running=words.running or told.running,
        doubt=unknown,
    )
    if told.since and said.state == told.state:
        return said._replace(why=words.why or told.why)
    return said._replace(why=words.why, since=now)


class Agents:
    """The agents of all services: each is asked once, however many services have it."""

    def __init__(self) -> None:
        self._errands: dict[Real, Errand] = {}
        self._known: dict[Errand, Hearing] = {}

    def learn(
        self, services: Iterable[Service], before: Callable[[Real], Verdict | None]
    ) -> set[Errand]:
        """Returns those to be asked; who is not known yet has said what it had said before."""
        self._errands = {
            (service.name, real.endpoint): Errand(Target(real.address, agent.port), agent)
            for service in services
            if (agent := service.agent)
            for real in service.reals
        }
        known, self._known = self._known, {}
        for whose, errand in self._errands.items():
            if errand not in self._known:
                verdict = before(whose)
                told = verdict.told if verdict and verdict.told else Told()
                self._known[errand] = known.get(errand, Hearing(told))
        return set(self._known)

    def heard(self, errand: Errand, heard: Heard, now: float) -> bool:
        """Whether anything holds that did not before."""
        known = self._known.get(errand)
        if known is None:
            return False
        self._known[errand] = hear(known, heard, now)
        return self._known[errand].told != known.told

    def of(self, whose: Real) -> Hearing | None:
        errand = self._errands.get(whose)
        return None if errand is None else self._known[errand]
