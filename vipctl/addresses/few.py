"""Spans as pairs of integers, one by one: what `spans` does with small sets. Pure."""

import struct
from collections.abc import Iterable, Iterator

Span = tuple[int, int]  # first and last address, both inside

BITS = {4: 32, 6: 128}
WIDTH = {4: 4, 6: 16}  # bytes of an address
_PAIR = {4: struct.Struct(">II"), 6: struct.Struct(">16s16s")}


def normalise(spans: Iterable[Span]) -> list[Span]:
    """Sorted, with overlapping and touching spans joined."""
    joined: list[Span] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1] + 1:
            if last > joined[-1][1]:
                joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def difference(left: Iterable[Span], right: Iterable[Span]) -> list[Span]:
    """`left` without the addresses of `right`; both canonical."""
    rest: list[Span] = []
    holes = iter(right)
    hole = next(holes, None)
    for span in left:
        first, last = span
        while hole is not None and hole[1] < first:
            hole = next(holes, None)
        while hole is not None and hole[0] <= last:
            if hole[0] > first:
                rest.append((first, hole[0] - 1))
            first = hole[1] + 1
            if hole[1] >= last:
                break
            hole = next(holes, None)
        if first <= last:
            rest.append((first, last))
    return rest


def cut(version: int, first: int, last: int) -> Iterator[tuple[int, int]]:
    """The minimal prefixes of one span, in order, as (network address, length)."""
    bits = BITS[version]
    while first <= last:
        room = (last - first + 1).bit_length() - 1
        aligned = (first & -first).bit_length() - 1 if first else bits
        host_bits = min(room, aligned)
        yield first, bits - host_bits
        first += 1 << host_bits


def unpacked(version: int, data: bytes) -> Iterator[Span]:
    if version == 4:
        return _PAIR[4].iter_unpack(data)
    return (
        (int.from_bytes(first, "big"), int.from_bytes(last, "big"))
        for first, last in _PAIR[6].iter_unpack(data)
    )


def packed(version: int, spans: Iterable[Span]) -> bytes:
    width = WIDTH[version]
    return b"".join(value.to_bytes(width, "big") for span in spans for value in span)
