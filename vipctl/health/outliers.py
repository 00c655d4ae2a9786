"""Who fails fast attracts clients: it takes many connections, and little comes of each. Pure."""

from collections.abc import Mapping
from statistics import median
from typing import NamedTuple

TIMES = 3  # periods in a row
MANY = 3.0  # times the connections that its weight would give it, by what the others get
LITTLE = 1 / 3  # of the bytes that a connection has at the others
ENOUGH = 1 / 2  # of these: then it is as it should be
LEAST = 10  # connections of a period, to say anything


class Count(NamedTuple):
    """Of one real server, since it was created or in a period."""

    connections: int
    bytes: int

    @property
    def each(self) -> float:
        """Bytes of a connection."""
        return self.bytes / self.connections

    def since(self, before: "Count | None") -> "Count | None":
        if before is None or self.connections < before.connections or self.bytes < before.bytes:
            return None
        return Count(self.connections - before.connections, self.bytes - before.bytes)


class Suspect(NamedTuple):
    """For how many periods it has been otherwise than it is held to be."""

    caught: bool = False
    times: int = 0


def watch(
    known: Mapping[str, Suspect], weights: Mapping[str, int], counts: Mapping[str, Count]
) -> dict[str, Suspect]:
    """After one more period; who had no connection in it stays as it is held to be."""
    return {
        endpoint: _judged(one, endpoint, weights, counts) if endpoint in counts else one
        for endpoint, one in known.items()
    }


def _judged(
    one: Suspect, endpoint: str, weights: Mapping[str, int], counts: Mapping[str, Count]
) -> Suspect:
    count = counts[endpoint]
    others = {e: c for e, c in counts.items() if e != endpoint and c.connections}
    if not (others and count.connections):
        return one._replace(times=0)
    usual = median(other.each for other in others.values())
    if one.caught:
        otherwise = count.each >= ENOUGH * usual
    else:
        theirs = sum(other.connections for other in others.values())
        fair = theirs / max(1, sum(weights[e] for e in others)) * weights[endpoint]
        many = count.connections >= max(LEAST, MANY * fair)
        otherwise = many and count.each <= LITTLE * usual
    times = one.times + 1 if otherwise else 0
    return Suspect(not one.caught) if times >= TIMES else one._replace(times=times)
