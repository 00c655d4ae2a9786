"""What the kernel counts within a second: the difference of two samples. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

Numbers = Mapping[str, float]
GAUGES = ("active", "inactive")  # counted at this moment, not since the beginning
NONE: Numbers = {}


class Sample(NamedTuple):
    """What was counted until a moment, by service, and by service and real server.

    `endpoints` are those of all services; of some of them nothing may be counted.
    """

    at: float  # of the monotonic clock
    endpoints: Mapping[str, tuple[str, ...]]
    services: Mapping[str, Numbers]
    reals: Mapping[tuple[str, str], Numbers]


class Rates(NamedTuple):
    """As a Sample, but within a second."""

    endpoints: Mapping[str, tuple[str, ...]] = {}
    services: Mapping[str, Numbers] = {}
    reals: Mapping[tuple[str, str], Numbers] = {}

    def of(self, name: str, endpoint: str = "") -> Numbers:
        if endpoint:
            return self.reals.get((name, endpoint), NONE)
        return self.services.get(name, NONE)

    def total(self, field: str) -> float:
        return sum(numbers.get(field, 0) for numbers in self.services.values())


def between(before: Sample, after: Sample) -> Rates:
    """Of what is in both; a service that is new has no rates yet."""
    seconds = after.at - before.at
    return Rates(
        after.endpoints,
        {n: _each(before.services.get(n, NONE), one, seconds) for n, one in after.services.items()},
        {key: _each(before.reals.get(key, NONE), one, seconds) for key, one in after.reals.items()},
    )


def _each(before: Numbers, after: Numbers, seconds: float) -> Numbers:
    """
    >>> _each({"connections": 10}, {"connections": 30, "active": 4, "accepted": 7}, 2.0)
    {'connections': 10.0, 'active': 4}
    """
    found: dict[str, float] = {}
    for field, value in after.items():
        if field in GAUGES:
            found[field] = value
        elif field in before and seconds > 0:
            found[field] = _grown(before[field], value) / seconds
    return found


def _grown(before: float, after: float) -> float:
    """A counter that is smaller than before has begun anew."""
    return after - before if after >= before else after


History = Mapping[str, tuple[float, ...]]  # by service, the latest last
KEPT = 60


def remembered(history: History, rates: Rates, fields: tuple[str, ...]) -> History:
    """With the first of these fields that a service has; those of no service are forgotten."""
    return {
        name: (*history.get(name, ())[1 - KEPT :], _first(numbers, fields))
        for name, numbers in rates.services.items()
    }


def _first(numbers: Numbers, fields: tuple[str, ...]) -> float:
    return next((numbers[field] for field in fields if field in numbers), 0.0)
