"""One service: which part of their weights its real servers get, however they stand."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from vipctl.health.standing import Standing
from vipctl.health.verdicts import State
from vipctl.services.agents import Agent
from vipctl.services.checks import Check
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.services.values import AllDown

STEPS = 20  # of a slow start
Standings = Mapping[str, Standing]  # by endpoint


class Shares(NamedTuple):
    """The percentage of its weight by endpoint; who is not in IPVS; what is wrong, in words."""

    shares: Mapping[str, int]
    absent: frozenset[str] = frozenset()
    fallback: bool = False
    troubles: tuple[str, ...] = ()


def share(service: Service, standings: Standings, now: float) -> Shares:
    """Those that work share the clients. If none does, it is as the service has it."""
    kept: set[str] = set()
    fallback, troubles = False, []
    for version, reals in _idle_versions(service, standings):
        if reals and all(_untried(standings[real.endpoint]) for real in reals):
            kept |= {real.endpoint for real in reals}
            continue
        last = _last_that_worked(service, reals, standings)
        policy = _policy(service, version, kept=last)
        fallback |= policy is AllDown.FALLBACK
        kept |= last if policy is AllDown.KEEP else set()
        troubles.append(_trouble(service, version, policy, last))
    shares = {e: _share(service, one, e in kept, now) for e, one in standings.items()}
    absent = {
        e for e, part in shares.items() if not part and _is_absent(service, standings[e], now)
    }
    return Shares(shares, frozenset(absent), fallback, tuple(troubles))


def _idle_versions(
    service: Service, standings: Standings
) -> Iterator[tuple[int, list[RealServer]]]:
    """The IP versions of which no real server serves, and those that could: none is drained."""
    for version in sorted(service.versions()):
        reals = [real for real in service.reals if real.weight and version in real.versions]
        if reals and not any(standings[real.endpoint].serves for real in reals):
            yield version, [real for real in reals if standings[real.endpoint].percent]


def _untried(one: Standing) -> bool:
    """Whether nothing is known, neither good nor bad."""
    return one.state is State.NEW and not one.why


def _policy(service: Service, version: int, *, kept: Collection[str]) -> AllDown:
    policy = service.when_all_down()
    serves = service.fallback is not None and service.fallback.address.version == version
    if policy is AllDown.FALLBACK and not serves:
        policy = AllDown.KEEP
    return policy if kept or policy is not AllDown.KEEP else AllDown.REFUSE


def _last_that_worked(
    service: Service, reals: Iterable[RealServer], standings: Standings
) -> set[str]:
    """Who failed with the last one: checks find together what breaks at one moment.

    All, if none has ever worked.
    """
    endpoints = {real.endpoint for real in reals}
    failed = {e: standings[e].since for e in endpoints if standings[e].state is State.DOWN}
    last = max(failed.values(), default=0) - together(service)
    return {e for e, since in failed.items() if since >= last} or endpoints


def together(service: Service) -> float:
    """Seconds in which checks find what has happened at one moment."""
    asked: list[Check | Agent] = [*service.checks, *filter(None, [service.agent])]
    return max((2 * one.every + one.timeout for one in asked), default=0)


def _trouble(service: Service, version: int, policy: AllDown, last: Iterable[str]) -> str:
    said = f"no real server of IPv{version} works: "
    if not last:
        said = f"agents take all real servers of IPv{version} that could work away from clients: "
    if policy is AllDown.FALLBACK:
        return f"{said}clients get {service.fallback}"
    if policy is AllDown.REFUSE:
        return f"{said}clients are refused"
    return f"{said}clients still get {' '.join(sorted(last))}"


def _share(service: Service, one: Standing, kept: bool, now: float) -> int:
    if kept:
        return one.percent
    if not one.serves:
        return 0
    if one.returned is None or not (service.slow_start and service.scheduler.weighs()):
        return one.percent
    step = min(int((now - one.returned) / service.slow_start * STEPS) + 1, STEPS)
    return max(one.percent * step // STEPS, 1)


def _is_absent(service: Service, one: Standing, now: float) -> bool:
    """Of one that gets nobody. Where such a one would take clients all the same, it must go."""
    dead = one.state is State.DOWN and 0 < service.dead_after <= now - one.since
    return dead or not service.scheduler.drains()


def next_change(service: Service, standings: Standings, now: float) -> float | None:
    """When shares change again with time alone, if they do."""
    times = (time for one in standings.values() for time in _times(service, one))
    return min((time for time in times if time > now), default=None)


def _times(service: Service, one: Standing) -> Iterator[float]:
    if one.state is State.DOWN and service.dead_after:
        yield one.since + service.dead_after
    if one.state is State.UP and one.returned is not None and service.slow_start:
        yield from (one.returned + service.slow_start * n / STEPS for n in range(1, STEPS))
