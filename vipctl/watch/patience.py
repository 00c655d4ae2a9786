"""Who changes the same thing again and again is not fought: it is put back less often."""

from collections import deque
from collections.abc import Iterable

LIMIT, PERIOD = 5, 60.0  # so many times in so many seconds
FIRST, LONGEST = 2.0, 60.0  # seconds that it is left as it is, doubled each time


class Patience:
    """Of each thing that was put back: when, and until when it is left alone."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}
        self._waits: dict[str, float] = {}
        self._until: dict[str, float] = {}

    def spared(self, now: float) -> frozenset[str]:
        """What is left alone for now."""
        return frozenset(thing for thing, until in self._until.items() if until > now)

    def next(self, now: float) -> float | None:
        """Seconds until something is left alone no longer; None without such a thing."""
        waiting = [until - now for until in self._until.values() if until > now]
        return min(waiting, default=None)

    def healed(self, things: Iterable[str], now: float) -> frozenset[str]:
        """What was put back; returns what somebody else seems to want otherwise."""
        return frozenset([thing for thing in things if self._too_often(thing, now)])

    def _too_often(self, thing: str, now: float) -> bool:
        times = self._times.setdefault(thing, deque(maxlen=LIMIT))
        times.append(now)
        if len(times) < LIMIT or now - times[0] > PERIOD + self._waits.get(thing, 0) * LIMIT:
            self._waits.pop(thing, None)
            return False
        wait = self._waits[thing] = min(self._waits.get(thing, FIRST / 2) * 2, LONGEST)
        self._until[thing] = now + wait
        return True
