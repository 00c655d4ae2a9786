"""Weights by load, damped: fast away from a real server that has too much, slowly back. Pure.

The load of each is compared with the mean of the service, and never made equal to it in one step.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

PERIOD = 2.0  # seconds between two steps
SETTLE = 4.0  # seconds in which a smoothed load follows
EXPONENT = 0.7
DEADBAND = 0.10  # what differs less is left alone
UP, DOWN = 0.10, 0.50  # the most that a weight changes in a step
LEAST, MOST = 0.1, 4.0  # of the weight that is stored
HOLD = 10.0  # seconds that a weight stays when nothing is known any more; then it goes back


class Damped(NamedTuple):
    """The part of its weight that a real server gets; `blind` since when its load is unknown."""

    factor: float = 1.0
    load: float = 0.0
    blind: float | None = None


Loads = Mapping[str, float | None]  # of those that serve, by endpoint; None is not known


def load_of(percent: int) -> float:
    """Of one whose agent says that so much of it is free.

    So many requests, the next one included, are at a worker that is busy for the rest of the time,
    if they come at random.
    """
    return 100 / max(percent, 1)


def step(
    known: Mapping[str, Damped], weights: Mapping[str, int], loads: Loads, now: float
) -> dict[str, Damped]:
    """Where fewer than half of those that serve are known, none is moved by its load."""
    fresh = {endpoint: load for endpoint, load in loads.items() if load is not None}
    if 2 * len(fresh) < len(loads):
        fresh = {}
    smooth = {endpoint: _smoothed(known[endpoint].load, load) for endpoint, load in fresh.items()}
    mean = _mean({e: (weights[e] * known[e].factor, load) for e, load in smooth.items()})
    return {
        endpoint: Damped(_moved(one.factor, mean / smooth[endpoint]), smooth[endpoint])
        if endpoint in smooth
        else _blind(one, now)
        for endpoint, one in known.items()
    }


def _smoothed(before: float, load: float) -> float:
    if not before or load > 2 * before:
        return load
    return before + (1 - math.exp(-PERIOD / SETTLE)) * (load - before)


def _mean(found: Mapping[str, tuple[float, float]]) -> float:
    total = sum(weight for weight, _ in found.values())
    return sum(weight * load for weight, load in found.values()) / total if total else 1.0


def _moved(factor: float, ratio: float) -> float:
    wanted: float = ratio**EXPONENT
    if abs(wanted - 1) < DEADBAND:
        return factor
    return min(MOST, max(LEAST, factor * min(1 + UP, max(1 - DOWN, wanted))))


def _blind(one: Damped, now: float) -> Damped:
    since = now if one.blind is None else one.blind
    if now - since < HOLD:
        return one._replace(blind=since)
    if one.factor < 1:
        return Damped(min(1.0, one.factor * (1 + UP)), 0.0, since)
    return Damped(max(1.0, one.factor * (1 - UP)), 0.0, since)
