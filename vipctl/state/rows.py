"""The spans that services hold, in rows of a database.

Spans are packed in order, up to a thousand to a row. A change of one span in a million reads and
writes one row; loading a million writes two thousand. Only what returns or changes everything is
slower than O(log n).
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vipctl.addresses.few import BITS, WIDTH, Span
from vipctl.addresses.spans import Spans
from vipctl.files import Where
from vipctl.services.change import Held, Place, Shape
from vipctl.state.database import failure

CHUNK = 512  # spans of a new row; a row with more than twice as many is split
FEW = 64  # up to so many spans, rows are looked up span by span; for more, all are read

_CHUNKS = "SELECT spans FROM chunk WHERE service = ? AND version = ? AND plane = ?"
_NEAR = """
SELECT place.service, place.plane, chunk.first, chunk.spans
FROM (SELECT DISTINCT service, version, plane FROM tally WHERE version = :version) AS place
CROSS JOIN chunk USING (service, version, plane)
WHERE chunk.first <= :high AND substr(chunk.spans, -length(:low)) >= :low
AND chunk.first >= ifnull((
    SELECT max(first) FROM chunk AS other
    WHERE other.service = place.service AND other.version = place.version
    AND other.plane = place.plane AND other.first <= :low
), x'')
"""


class Rows:
    """Reads and changes the spans in one database."""

    def __init__(self, connection: sqlite3.Connection, directory: Where) -> None:
        self._db = connection
        self.directory = directory
        self.derived: dict[str, Any] = {}  # computed from the state, until it changes

    def _rows(
        self, query: str, values: Sequence[object] | Mapping[str, object] = ()
    ) -> Iterator[Any]:
        try:
            yield from self._db.execute(query, values)
        except sqlite3.Error as e:
            raise failure("read", self.directory, e) from e

    def held(self, service: str | None = None) -> Held:
        """What all services hold, or one."""
        return self._held("1" if service is None else "service = ?", service)

    def _held(self, where: str, *values: object) -> Held:
        found: dict[Place, list[bytes]] = {}
        rows = self._rows(
            f"SELECT service, version, plane, spans FROM chunk WHERE {where} "  # noqa: S608
            "ORDER BY service, version, plane, first",
            [value for value in values if value is not None],
        )
        for *place, spans in rows:
            found.setdefault(Place(*place), []).append(spans)
        return {p: Spans(p.version, b"".join(parts)) for p, parts in found.items()}

    def outermost(self, service: str, version: int) -> Held:
        """The first and the last span in each plane of a service."""
        found = {}
        for place in self._places(service, version):
            ends = [
                Spans(version, spans)
                for order in ("", "DESC")
                for (spans,) in self._rows(f"{_CHUNKS} ORDER BY first {order} LIMIT 1", place)
            ]
            found[place] = Spans.from_pairs(version, (ends[0][0], ends[-1][-1]))
        return found

    def _places(self, service: str, version: int) -> list[Place]:
        rows = self._rows(
            "SELECT DISTINCT plane FROM tally WHERE service = ? AND version = ?",
            (service, version),
        )
        return [Place(service, version, plane) for (plane,) in rows]

    def touching(self, spans: Spans) -> Held:
        """The spans of every service that share an address with these, or are adjacent."""
        rows = self._near(spans) if len(spans) <= FEW else self._held("version = ?", spans.version)
        found = {place: held.touching(spans) for place, held in rows.items()}
        return {place: near for place, near in found.items() if near}

    def _near(self, spans: Spans) -> Held:
        """The rows of every service that hold these spans or their neighbours."""
        found: dict[Place, dict[bytes, bytes]] = {}
        for span in spans:
            low, high = _with_neighbours(spans.version, span)
            asked = {"version": spans.version, "low": low, "high": high}
            for service, plane, first, row in self._rows(_NEAR, asked):
                found.setdefault(Place(service, spans.version, plane), {})[first] = row
        return {
            place: Spans(place.version, b"".join(rows[first] for first in sorted(rows)))
            for place, rows in found.items()
        }

    def _chunks(self, place: Place, spans: Spans) -> list[bytes]:
        """The rows of a place that hold these spans or their neighbours, or are to hold them."""
        if len(spans) > FEW:
            return [row[0] for row in self._rows(f"{_CHUNKS} ORDER BY first", place)]
        found: dict[bytes, bytes] = {}
        for span in spans:
            low, high = _with_neighbours(spans.version, span)
            before = f"{_CHUNKS} AND first <= ? ORDER BY first DESC LIMIT 1"
            rows = list(self._rows(before, (*place, low)))
            rows = rows or list(self._rows(f"{_CHUNKS} ORDER BY first LIMIT 1", place))
            rows += self._rows(f"{_CHUNKS} AND first > ? AND first <= ?", (*place, low, high))
            found |= {row[0][: WIDTH[spans.version]]: row[0] for row in rows}
        return [found[first] for first in sorted(found)]

    def tallies(self) -> list[tuple[str, Shape, int]]:
        """How many prefixes of each shape each service has."""
        if "tallies" not in self.derived:
            rows = self._rows("SELECT service, version, plane, length, prefixes FROM tally")
            self.derived["tallies"] = [(name, Shape(*s), count) for name, *s, count in rows]
        found: list[tuple[str, Shape, int]] = self.derived["tallies"]
        return found

    def _edit(self, place: Place, gone: Spans, come: Spans) -> None:
        """Removes and adds spans of a place: rewrites the rows that they are in, or come into."""
        around = gone | come
        rows = self._chunks(place, around) or [b""]
        if len(around) > FEW:
            self._rewrite(place, rows, gone, come)
        else:
            bounds = [row[: WIDTH[place.version]] for row in rows[1:]]
            for row, *parts in zip(rows, gone.parts(bounds), come.parts(bounds), strict=True):
                self._rewrite(place, [row], *parts)
        self._count(place, gone, -1)
        self._count(place, come, 1)

    def _rewrite(self, place: Place, rows: list[bytes], gone: Spans, come: Spans) -> None:
        """Replaces neighbouring rows by as many as their spans then need."""
        if not (gone or come):
            return
        size = 2 * WIDTH[place.version]
        all_of_it = Spans(place.version, b"".join(rows)).without(gone) | come
        new, number = all_of_it.data, len(all_of_it)
        step = -(-number // (number // CHUNK)) * size if number > 2 * CHUNK else 2 * CHUNK * size
        self._db.executemany(
            "DELETE FROM chunk WHERE service = ? AND version = ? AND plane = ? AND first = ?",
            ((*place, spans[: size // 2]) for spans in rows),
        )
        self._db.executemany(
            "INSERT INTO chunk VALUES (?, ?, ?, ?, ?)",
            (
                (*place, new[at : at + size // 2], new[at : at + step])
                for at in range(0, len(new), step)
            ),
        )

    def _count(self, place: Place, spans: Spans, sign: int) -> None:
        self._db.executemany(
            "INSERT INTO tally VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
            "SET prefixes = prefixes + excluded.prefixes",
            ((*place, length, sign * number) for length, number in spans.lengths().items()),
        )


def _with_neighbours(version: int, span: Span) -> tuple[bytes, bytes]:
    """The packed addresses next to a span on either side, or its own where there are none."""
    first, last = span
    ends = max(first - 1, 0), min(last + 1, (1 << BITS[version]) - 1)
    low, high = (end.to_bytes(WIDTH[version], "big") for end in ends)
    return low, high
