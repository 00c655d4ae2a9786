"""The services with feedback: which part of its weight each real server gets, by what it does."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from vipctl.health import feedback, outliers
from vipctl.health.feedback import Damped
from vipctl.health.hearing import Agents
from vipctl.health.outliers import Count, Suspect
from vipctl.health.standing import Standing
from vipctl.health.verdicts import WHOLE, Verdict
from vipctl.services.service import Service

Real = tuple[str, str]  # service, endpoint
Totals = Mapping[Real, Count]
FRESH = 3  # times that an agent may have been asked since it was heard


class Part(NamedTuple):
    """What feedback has found of one real server."""

    damped: Damped = Damped()
    suspect: Suspect = Suspect()

    @property
    def percent(self) -> int:
        """Of the weight that is stored."""
        factor = (
            min(self.damped.factor, feedback.LEAST) if self.suspect.caught else self.damped.factor
        )
        return max(1, round(WHOLE * factor))


class Balance:
    """It goes on from what was said before."""

    def __init__(self) -> None:
        self._services: dict[str, Service] = {}
        self._parts: dict[Real, Part] = {}
        self._totals: Totals = {}

    def learn(self, services: Iterable[Service], before: Callable[[Real], Verdict | None]) -> None:
        self._services = {s.name: s for s in services if s.feeds_back}
        known, self._parts = self._parts, {}
        for service in self._services.values():
            for real in service.reals:
                whose = service.name, real.endpoint
                self._parts[whose] = known.get(whose) or _begun(before(whose))

    @property
    def services(self) -> list[Service]:
        return list(self._services.values())

    def of(self, whose: Real) -> Part | None:
        return self._parts.get(whose)

    def step(
        self, standings: Mapping[Real, Standing], agents: Agents, totals: Totals, now: float
    ) -> bool:
        """After one more period; whether any weight is another now."""
        before = {whose: part.percent for whose, part in self._parts.items()}
        counts = {w: c for w, total in totals.items() if (c := total.since(self._totals.get(w)))}
        self._totals = totals
        for service in self._services.values():
            self._step(service, standings, agents, counts, now)
        return before != {whose: part.percent for whose, part in self._parts.items()}

    def _step(
        self,
        service: Service,
        standings: Mapping[Real, Standing],
        agents: Agents,
        counts: Totals,
        now: float,
    ) -> None:
        weights = {real.endpoint: real.weight for real in service.reals}
        parts = {endpoint: self._parts[service.name, endpoint] for endpoint in weights}
        serving = [e for e in weights if weights[e] and standings[service.name, e].serves]
        loads = {e: _load(service, agents, (service.name, e), now) for e in serving}
        ours = {e: counts[service.name, e] for e in serving if (service.name, e) in counts}
        damped = feedback.step({e: p.damped for e, p in parts.items()}, weights, loads, now)
        suspects = outliers.watch({e: p.suspect for e, p in parts.items()}, weights, ours)
        for endpoint in weights:
            self._parts[service.name, endpoint] = Part(damped[endpoint], suspects[endpoint])


def _begun(verdict: Verdict | None) -> Part:
    if verdict is None:
        return Part()
    return Part(Damped(verdict.factor), Suspect(verdict.caught))


def _load(service: Service, agents: Agents, whose: Real, now: float) -> float | None:
    hearing = agents.of(whose)
    if not (service.agent and hearing and hearing.measured is not None):
        return None
    fresh = now - hearing.measured <= FRESH * max(service.agent.every, feedback.PERIOD)
    return feedback.load_of(hearing.told.percent) if fresh else None
