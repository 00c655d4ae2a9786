"""The last record of each connection, for those who come later: the kernel tells them nothing."""

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from vipctl.relay.messages import Key, Record

MOST = 100_000  # connections; some 50 MB
UNTIMED = 180  # seconds for which the kernel keeps a connection whose record has no timeout
OWN = ""  # whose records are those of this director's kernel


class Entry(NamedTuple):
    whose: str
    record: Record
    until: float  # by time.monotonic(): then the connection is gone, if nothing was heard of it


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
            self._entries[record.key] = Entry(whose, record, now + (record.timeout or UNTIMED))
        while len(self._entries) > self._most:
            del self._entries[next(iter(self._entries))]

    def without(self, others: Collection[str], now: float) -> Iterator[Record]:
        """What is not of `others`, of connections that may still be there; forgets the rest."""
        gone = [key for key, entry in self._entries.items() if entry.until <= now]
        for key in gone:
            del self._entries[key]
        return (e.record for e in list(self._entries.values()) if e.whose not in others)
