"""The last record of each connection, for those who come later: the kernel tells them nothing."""

from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import NamedTuple

from vipctl.relay.messages import Key, Record

MOST = 100_000  # connections; some 50 MB
UNTIMED = 180  # seconds for which the kernel keeps a connection whose record has no timeout
OWN = ""  # whose records are those of this director's kernel


class Entry(NamedTuple):
    """Who told it, and when by time.monotonic()."""

    whose: str
    record: Record
    told: float

    @property
    def until(self) -> float:
        """When the connection is gone, if nothing more is heard of it."""
        return self.told + (self.record.timeout or UNTIMED)


class Kept:
    """Of so many connections; of more, those that were told last."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._entries: dict[Key, Entry] = {}  # in the order in which they were told

    def __len__(self) -> int:
        return len(self._entries)

    def note(self, whose: str, records: Iterable[Record], now: float) -> None:
        for record in records:
            self._entries.pop(record.key, None)
            self._entries[record.key] = Entry(whose, record, now)
        while len(self._entries) > self._most:
            del self._entries[next(iter(self._entries))]

    def without(self, known: Mapping[str, float], now: float) -> Iterator[Record]:
        """All but what these directors have told since then; forgets connections that are gone."""
        for key in [key for key, entry in self._entries.items() if entry.until <= now]:
            del self._entries[key]
        left = [e for e in self._entries.values() if e.told < known.get(e.whose, inf)]
        return (entry.record for entry in left)
