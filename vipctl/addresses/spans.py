"""Sets of addresses of one IP version, packed: a million spans are one string of eight megabytes.

A *span* is a pair of integers, first and last address, both inside. A set is a sorted sequence of
spans that neither overlap nor touch; that form is unique, and so are the prefixes cut from it: the
minimal list that covers exactly the set. Pure.

Small sets are handled here, span by span; large ones by numpy, in `bulk`, to the same result.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final, Self

from vipctl.addresses.few import BITS, WIDTH, Span, cut, difference, normalise, packed, unpacked

NUMPY_FROM = 8_000  # spans for which it pays to import numpy
LAST = b"\xff" * 16


class Spans:
    """A canonical set. `data` has the first and the last address of each span, big-endian."""

    __slots__ = ("data", "version")

    def __init__(self, version: int, data: bytes = b"") -> None:
        self.version: Final = version
        self.data: Final = data

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Spans):
            return NotImplemented
        return self.version == other.version and self.data == other.data

    def __hash__(self) -> int:
        return hash((self.version, self.data))

    def __repr__(self) -> str:
        return f"Spans({self.version}, {self.data!r})"

    @classmethod
    def of(cls, version: int, data: bytes) -> Self:
        """The set made of packed spans in any order, overlapping or not."""
        if _are_many(version, data):
            from vipctl.addresses import bulk

            return cls(version, bulk.union(version, data))
        return cls(version, packed(version, normalise(unpacked(version, data))))

    @classmethod
    def from_pairs(cls, version: int, pairs: Iterable[Span]) -> Self:
        """The set made of spans in any order, overlapping or not."""
        return cls.of(version, packed(version, pairs))

    def __len__(self) -> int:
        return len(self.data) // (2 * WIDTH[self.version])

    def __iter__(self) -> Iterator[Span]:
        return unpacked(self.version, self.data)

    def __getitem__(self, at: int) -> Span:
        at = range(len(self))[at]
        return self._address(2 * at), self._address(2 * at + 1)

    def _address(self, at: int) -> int:
        width = WIDTH[self.version]
        return int.from_bytes(self.data[at * width : (at + 1) * width], "big")

    def holds(self, value: int) -> bool:
        """Whether an address is in the set."""
        return bool(self._within(value, value))

    def __or__(self, other: Self) -> Self:
        if not (self.data and other.data):
            return self if self.data else other
        if self.data == other.data:
            return self
        if len(other) == 1:
            return self._with(*other[0])
        return self.of(self.version, self.data + other.data)

    def _with(self, first: int, last: int) -> Self:
        """Adds one span, joined with those that it touches."""
        near = self._within(first - 1, last + 1)
        if near:
            first = min(first, self._address(2 * near.start))
            last = max(last, self._address(2 * near.stop - 1))
        before, behind = (2 * WIDTH[self.version] * at for at in (near.start, near.stop))
        new = packed(self.version, [(first, last)])
        return type(self)(self.version, self.data[:before] + new + self.data[behind:])

    def __sub__(self, other: Self) -> Self:
        """The addresses of `self` that are not in `other`."""
        if not self._meets(other):
            return self
        if self.data == other.data:
            return type(self)(self.version)
        if _are_many(self.version, self.data, other.data):
            from vipctl.addresses import bulk

            return type(self)(self.version, bulk.difference(self.version, self.data, other.data))
        return type(self)(self.version, packed(self.version, difference(self, other)))

    def __and__(self, other: Self) -> Self:
        return self - (self - other)

    def without(self, other: Self) -> Self:
        """The spans of `self` that are not spans of `other` too, with the same two ends."""
        if not (self.data and other.data):
            return self
        kept = records_without(2 * WIDTH[self.version], self.data, other.data)
        return type(self)(self.version, kept)

    def overlapping(self, other: Self) -> Self:
        """The spans of `self` that share an address with `other`."""
        return self._near(other, 0) if self._meets(other) else type(self)(self.version)

    def touching(self, other: Self) -> Self:
        """The spans of `self` that share an address with `other`, or are adjacent to it."""
        return self._near(other, 1)

    def _near(self, other: Self, gap: int) -> Self:
        if self.data == other.data:
            return self
        if _are_many(self.version, other.data) and other.data[0 : WIDTH[self.version]].strip(b"\0"):
            from vipctl.addresses import bulk

            return type(self)(self.version, bulk.near(self.version, self.data, other.data, gap))
        size = 2 * WIDTH[self.version]
        found = {at for span in other for at in self._within(span[0] - gap, span[1] + gap)}
        return type(self)(
            self.version, b"".join(self.data[at * size : at * size + size] for at in sorted(found))
        )

    def widened(self, length: int) -> Self:
        """The whole prefixes of a length in which the set has any address."""
        hosts = (1 << BITS[self.version] - length) - 1
        if _are_many(self.version, self.data):
            from vipctl.addresses import bulk

            return self.of(self.version, bulk.widened(self.version, self.data, hosts))
        ends = ((first & ~hosts, last | hosts) for first, last in self)
        return self.from_pairs(self.version, ends)

    def parts(self, bounds: Iterable[bytes]) -> list[Self]:
        """Cuts the set at packed addresses, which are in order: one part more than bounds.

        A span belongs to the part in which its first address is.
        """
        size = 2 * WIDTH[self.version]
        values = (int.from_bytes(bound, "big") for bound in bounds)
        places = range(len(self))
        cuts = [bisect_left(places, value, key=lambda n: self._address(2 * n)) for value in values]
        ends = pairwise([0, *cuts, len(self)])
        return [type(self)(self.version, self.data[a * size : b * size]) for a, b in ends]

    def _within(self, low: int, high: int) -> range:
        """The positions of the spans that share an address with LOW-HIGH."""
        places = range(len(self))
        return range(
            bisect_left(places, low, key=lambda n: self._address(2 * n + 1)),
            bisect_right(places, high, key=lambda n: self._address(2 * n)),
        )

    def _meets(self, other: Self) -> bool:
        """Whether the two may share addresses, by the first and the last address of each."""
        if not (self.data and other.data):
            return False
        width = WIDTH[self.version]
        return self.data[:width] <= other.data[-width:] and other.data[:width] <= self.data[-width:]

    def size(self) -> int:
        """How many addresses."""
        if _are_many(self.version, self.data):
            from vipctl.addresses import bulk

            return bulk.size(self.version, self.data)
        return sum(last - first + 1 for first, last in self)

    def prefixes(self) -> dict[int, bytes]:
        """The minimal prefixes: packed network addresses, by length."""
        if _are_many(self.version, self.data):
            from vipctl.addresses import bulk

            return bulk.prefixes(self.version, self.data)
        found: dict[int, bytearray] = {}
        for first, last in self:
            for start, length in cut(self.version, first, last):
                found.setdefault(length, bytearray()).extend(
                    start.to_bytes(WIDTH[self.version], "big")
                )
        return {length: bytes(packed) for length, packed in found.items()}

    def lengths(self) -> dict[int, int]:
        """How many prefixes of each length."""
        width = WIDTH[self.version]
        return {length: len(packed) // width for length, packed in self.prefixes().items()}


def shared(version: int, sets: Iterable[Spans]) -> Spans:
    """The addresses that are in more than one of the sets."""
    some = [spans.data for spans in sets if spans]
    data = b"".join(some) if len(some) > 1 else b""  # a single set shares nothing
    if _are_many(version, data):
        from vipctl.addresses import bulk

        return Spans(version, bulk.shared(version, data))
    twice: list[Span] = []
    reached = -1
    for first, last in sorted(unpacked(version, data)):
        if first <= reached:
            twice.append((first, min(last, reached)))
        reached = max(reached, last)
    return Spans.from_pairs(version, twice)


def records(template: bytes, at: int, width: int, addresses: bytes) -> bytes:
    """A copy of the template for each packed address, which is put into it at offset `at`."""
    if len(addresses) >= NUMPY_FROM * width:
        from vipctl.addresses import bulk

        return bulk.records(template, at, width, addresses)
    before, behind = template[:at], template[at + width :]
    return b"".join(
        before + addresses[n : n + width] + behind for n in range(0, len(addresses), width)
    )


def fields(template: bytes, at: int, width: int, data: bytes) -> bytes | None:
    """The inverse of `records`: the packed addresses; None if `records` cannot have made it."""
    if len(data) % len(template):
        return None
    if len(data) > NUMPY_FROM * len(template):
        from vipctl.addresses import bulk

        return bulk.fields(template, at, width, data)
    found = b"".join(data[n + at : n + at + width] for n in range(0, len(data), len(template)))
    return found if records(template, at, width, found) == data else None


def records_without(width: int, left: bytes, right: bytes) -> bytes:
    """The records of `left` that are not in `right`, in order; each `width` bytes, none twice."""
    if not (left and right):
        return left
    if left == right:
        return b""
    if len(left) + len(right) > NUMPY_FROM * width:
        from vipctl.addresses import bulk

        return bulk.records_without(width, left, right)
    gone = {right[at : at + width] for at in range(0, len(right), width)}
    records = (left[at : at + width] for at in range(0, len(left), width))
    return b"".join(record for record in records if record not in gone)


def common(width: int, left: bytes, right: bytes) -> bytes:
    """The records of `left` that are in `right` too."""
    return records_without(width, left, records_without(width, left, right))


def _are_many(version: int, *data: bytes) -> bool:
    """Whether numpy pays, and can do it: it cannot add one to the last IPv6 address."""
    if sum(map(len, data)) <= 2 * WIDTH[version] * NUMPY_FROM:
        return False
    return version == 4 or not any(LAST in part for part in data)
