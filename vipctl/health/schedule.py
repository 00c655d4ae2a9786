"""When each errand is due: every so often, all of them spread over that time."""

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from zlib import crc32

from vipctl.health.judging import Errand

JITTER = 0.1  # of the time between two: others must not fall into step


@dataclass(slots=True)
class Turn:
    """When an errand is due next, and at which part of its period it always is."""

    errand: Errand
    phase: float
    time: float = math.inf

    def next(self, now: float) -> float:
        """The next moment of its phase."""
        return now + (self.phase - now) % self.errand.check.every


class Schedule:
    """Errands keep their phase, by a hash of what they are, however often a daemon starts."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._begun = False
        self._turns: dict[Errand, Turn] = {}
        self._heap: list[tuple[float, int, Turn]] = []
        self._count = 0

    def learn(self, errands: Iterable[Errand], now: float) -> None:
        """Who comes later than the first is asked at once."""
        wanted = set(errands)
        for errand in self._turns.keys() - wanted:
            self._turns.pop(errand).time = math.inf
        for errand in wanted - self._turns.keys():
            turn = self._turns[errand] = Turn(errand, _phase(errand))
            self._plan(turn, now if self._begun else turn.next(now))
        self._begun = True

    def next(self) -> float | None:
        """When the next one is due."""
        self._forget()
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[Errand]:
        """Those that are due; each is planned anew."""
        found: list[Errand] = []
        while (time := self.next()) is not None and time <= now:
            turn = heapq.heappop(self._heap)[2]
            found.append(turn.errand)
            every = turn.errand.check.every
            after = turn.next(max(time, now) + every / 2)
            self._plan(turn, after + self._random.uniform(-JITTER, JITTER) * every)
        return found

    def _forget(self) -> None:
        """Drops what is planned otherwise now, or not at all."""
        while self._heap and self._heap[0][2].time != self._heap[0][0]:
            heapq.heappop(self._heap)

    def _plan(self, turn: Turn, time: float) -> None:
        self._count += 1  # no two turns are ever compared
        turn.time = time
        heapq.heappush(self._heap, (time, self._count, turn))


def _phase(errand: Errand) -> float:
    return crc32(repr(errand).encode()) / (1 << 32) * errand.check.every
