"""A small policy that learns: of each server a line of 1 / latency by rate, and the best split.

It lives here alone. Where a queue is M/M/1, 1 / latency falls with the rate in a straight line and
is 0 at the capacity; the line is fitted to what was seen, older less than newer. Of the capacities
follows the split with the least mean latency: all have the same marginal delay. Weights go there
by bounded steps, as the law of vipctl does.
"""

import math
from collections.abc import Mapping, Sequence

from vipctl.health.feedback import DOWN, LEAST, MOST, UP

FORGET = 0.97  # of what was seen, each period
DEADBAND = 0.05
FAST = 1e-4  # seconds, less than which no latency is


class Line:
    """1 / latency by rate, by least squares that forget."""

    def __init__(self) -> None:
        self._sums = [0.0] * 5

    def learn(self, rate: float, latency: float) -> None:
        y = 1 / max(latency, FAST)
        new = (1.0, rate, y, rate * rate, rate * y)
        self._sums = [FORGET * old + one for old, one in zip(self._sums, new, strict=True)]

    def capacity(self, rate: float, latency: float, workers: int) -> float:
        """Where the line meets 0, if it falls; within bounds of what is seen now."""
        n, sx, sy, sxx, sxy = self._sums
        spread = n * sxx - sx * sx
        slope = (n * sxy - sx * sy) / spread if spread > 1e-3 * n * n else 0.0
        level = (sy - slope * sx) / n
        free = workers / max(latency, FAST)
        found = -level / slope if slope < 0 < level else max(1.5 * rate, 0.9 * free)
        return max(0.3 * rate, min(found, 1.2 * free + 0.2 * rate, 4 * rate + 10))


def split(capacities: Sequence[float], rate: float) -> list[float]:
    """Rates with the same marginal delay: x = c - sqrt(c * v), with v such that they add up."""
    low, high = 0.0, max(capacities)
    for _ in range(60):
        v = (low + high) / 2
        total = sum(max(0, c - math.sqrt(c * v)) for c in capacities)
        low, high = (v, high) if total > rate else (low, v)
    return [max(0, c - math.sqrt(c * high)) for c in capacities]


class Learned:
    """Of all real servers of a service, by endpoint."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.lines: dict[str, Line] = {}
        self.factors: dict[str, float] = {}

    def step(self, seen: Mapping[str, tuple[float, float]]) -> dict[str, float]:
        """The part of its weight that each gets, after a period with this rate and latency."""
        capacities = []
        for name, (rate, latency) in seen.items():
            line = self.lines.setdefault(name, Line())
            line.learn(rate, latency)
            capacities.append(line.capacity(rate, latency, self.workers))
        rates = split(capacities, sum(rate for rate, _ in seen.values()))
        mean = sum(rates) / len(rates) or 1.0
        for name, wanted in zip(seen, rates, strict=True):
            old = self.factors.get(name, 1.0)
            turn = min(1 + UP, max(1 - DOWN, wanted / mean / old))
            if abs(turn - 1) > DEADBAND:
                old = min(MOST, max(LEAST, old * turn))
            self.factors[name] = old
        return dict(self.factors)
