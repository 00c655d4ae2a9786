"""What services hold, span by span: to be written down and compared."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vipctl.addresses.spans import Spans
from vipctl.services.change import Held, Place


class Row(NamedTuple):
    """One span of a service."""

    service: str
    version: int
    plane: int
    first: int
    last: int

    @property
    def place(self) -> Place:
        """Where it is."""
        return Place(*self[:3])

    @property
    def span(self) -> tuple[int, int]:
        """First and last address."""
        return self.first, self.last


def flat(held: Held) -> list[Row]:
    """In the order in which they are there."""
    return [Row(*place, *span) for place, spans in held.items() for span in spans]


def held_by(rows: Iterable[Row]) -> Held:
    """The inverse."""
    return dict(_placed(list(rows)))


def _placed(rows: list[Row]) -> Iterator[tuple[Place, Spans]]:
    for place in {row.place: None for row in rows}:
        own = [row.span for row in rows if row.place == place]
        yield place, Spans.from_pairs(place.version, own)
