"""What `spans` does, for large sets: numpy's arrays instead of a Python object for each address."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vipctl.addresses.columns import (
    FULL,
    ONE,
    Column,
    Columns,
    as_bytes,
    as_text,
    concatenated,
    differ,
    exceeds,
    firsts_and_lasts,
    following,
    in_order,
    interleaved,
    ordering,
    preceding,
    taken,
)
from vipctl.addresses.few import cut, unpacked

Mask = NDArray[np.bool_]
Words = NDArray[np.uint64]  # a row of them for each record
Depth = NDArray[np.int32]

_ODD = np.uint64(0x9E3779B97F4A7C15)
_HALF = 64  # bits of a column of IPv6


def union(version: int, data: bytes) -> bytes:
    """Joins spans given in any order.

    First and last addresses are sorted separately: a joined span ends at the n-th last address if
    the first address after the n-th neither overlaps nor touches it.
    """
    first, last = firsts_and_lasts(version, data)
    single = all(map(np.array_equal, first, last))
    first = in_order(first)
    last = first if single else in_order(last)
    apart = exceeds(taken(first, slice(1, None)), following(taken(last, slice(-1))))
    starts = taken(first, np.concatenate(([True], apart)))
    return as_bytes(version, starts, taken(last, np.concatenate((apart, [True]))))


def shared(version: int, data: bytes) -> bytes:
    """The addresses that are in two or more of the spans."""
    return _sweep(version, [data], lambda depths: depths[0] >= 2)


def difference(version: int, left: bytes, right: bytes) -> bytes:
    return _sweep(version, [left, right], lambda depths: (depths[0] > 0) & (depths[1] == 0))


def _sweep(version: int, sets: list[bytes], keep: Callable[[list[Depth]], Mask]) -> bytes:
    """The addresses that `keep` chooses by how many spans of each set they are in; canonical."""
    bounds = [
        (first, following(last))
        for first, last in (firsts_and_lasts(version, data) for data in sets)
    ]
    points = concatenated([*(first for first, _ in bounds), *(end for _, end in bounds)])
    order = ordering(points)
    points = taken(points, order)
    ends = np.append(differ(points), True)  # the last of equal points
    depths = []
    for at in range(len(bounds)):
        counted = np.concatenate(
            [_steps(by, pair, at == n) for by in (1, -1) for n, pair in enumerate(bounds)]
        )
        depths.append(np.cumsum(counted[order], dtype=np.int32)[ends])
    inside = keep(depths)
    points = taken(points, ends)
    before = np.concatenate(([False], inside[:-1]))
    starts, stops = taken(points, inside & ~before), taken(points, ~inside & before)
    return as_bytes(version, starts, preceding(stops))


def _steps(by: int, bounds: tuple[Columns, Columns], counted: bool) -> NDArray[np.int8]:
    return np.full(len(bounds[0][0]), by if counted else 0, np.int8)


def widened(version: int, data: bytes, hosts: int) -> bytes:
    """The spans with the bits of `hosts` cleared in first addresses and set in last ones."""
    masks = tuple(np.uint64(hosts >> by & int(FULL)) for by in ((0,) if version == 4 else (64, 0)))
    first, last = firsts_and_lasts(version, data)
    return as_bytes(
        version,
        tuple(column & ~mask for column, mask in zip(first, masks, strict=True)),
        tuple(column | mask for column, mask in zip(last, masks, strict=True)),
    )


def near(version: int, data: bytes, others: bytes, gap: int) -> bytes:
    """The spans that share an address with one of `others`, each widened by `gap` (0 or 1)."""
    low, high = firsts_and_lasts(version, others)
    low, high = (preceding(low), following(high)) if gap else (low, high)
    first, last = firsts_and_lasts(version, data)
    begun = _ranks(low, last, "right")  # how many others begin up to its last address
    ended = _ranks(high, first, "left")  # and have ended before its first
    return as_bytes(version, taken(first, begun > ended), taken(last, begun > ended))


def _ranks(among: Columns, values: Columns, side: Any) -> NDArray[np.intp]:
    if len(among) == 1:
        return np.searchsorted(among[0], values[0], side)
    return np.searchsorted(as_text(among), as_text(values), side)


def records_without(width: int, left: bytes, right: bytes) -> bytes:
    """The records of `left` that are not in `right`; none of them twice."""
    if width <= 8:
        kind = f"<u{width}"
        some, others = np.frombuffer(left, kind), np.frombuffer(right, kind)
        return bytes(some[~np.isin(some, others, assume_unique=True)].tobytes())
    words, unwanted = (
        np.frombuffer(part, np.uint64).reshape(-1, width // 8) for part in (left, right)
    )
    return bytes(words[~_among(words, unwanted)].tobytes())


def _among(some: Words, others: Words) -> Mask:
    """Which of `some` are in `others`: by their hashes, or by sorting if two hashes collide."""
    mixed, sought = _mixture(others), _mixture(some)
    order = np.argsort(mixed)
    mixed = mixed[order]
    turn = np.argsort(sought)  # sorted queries are faster: they use the cache
    at = np.empty_like(turn)
    at[turn] = np.searchsorted(mixed, sought[turn])
    at[at == len(mixed)] = 0
    alike = np.equal(mixed[at], sought)
    told = (mixed[1:] != mixed[:-1]).all() and (some[alike] == others[order[at[alike]]]).all()
    return alike if told else _among_sorted(some, others)


def _mixture(words: Words) -> Column:
    """A 64-bit hash of each record."""
    mixed = np.zeros(len(words), np.uint64)
    for column in words.T:
        mixed = (mixed ^ column) * _ODD
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _among_sorted(some: Words, others: Words) -> Mask:
    words = np.concatenate((some, others))
    order = np.lexsort(tuple(words.T))
    twice = np.flatnonzero((words[order[1:]] == words[order[:-1]]).all(axis=1))
    found = np.zeros(len(words), np.bool_)
    found[order[twice]] = found[order[twice + 1]] = True
    return found[: len(some)]


def size(version: int, data: bytes) -> int:
    first, last = firsts_and_lasts(version, data)
    totals = [_sum(b) - _sum(a) for a, b in zip(first, last, strict=True)]
    return sum(part << _HALF * at for at, part in enumerate(reversed(totals))) + len(first[0])


def _sum(column: Column) -> int:
    return (int(np.sum(column >> 32)) << 32) + int(np.sum(column & np.uint64(0xFFFFFFFF)))


def prefixes(version: int, data: bytes) -> dict[int, bytes]:
    """The minimal prefixes: packed network addresses, by length."""
    first, last = firsts_and_lasts(version, data)
    found: dict[int, list[bytes]] = {}
    if version == 4:
        for length, starts in _cut(first[0], last[0], 32):
            found.setdefault(length, []).append(starts.astype(">u4").tobytes())
    else:
        for length, packed in _cut_wide(first, last):
            found.setdefault(length, []).append(packed)
    return {length: b"".join(parts) for length, parts in found.items()}


def _cut_wide(first: Columns, last: Columns) -> Iterable[tuple[int, bytes]]:
    """As (length, packed network addresses).

    A span within one /64 is cut by its low half, a span of whole /64s by its high half, and the
    few others one by one.
    """
    narrow = (first[0] == last[0]) & (last[1] != FULL)
    whole = (first[1] == 0) & (last[1] == FULL) & (last[0] != FULL)
    for high in (first[0][narrow],) if narrow.any() else ():
        for length, starts, chosen in _cut_chosen(first[1][narrow], last[1][narrow], _HALF):
            yield _HALF + length, interleaved((high[chosen], starts))
    for length, starts in _cut(first[0][whole], last[0][whole], _HALF):
        yield length, interleaved((starts, np.zeros_like(starts)))
    rest = ~(narrow | whole)
    data = as_bytes(6, taken(first, rest), taken(last, rest))
    for start, length in (prefix for pair in unpacked(6, data) for prefix in cut(6, *pair)):
        yield length, start.to_bytes(16, "big")


def _cut(first: Column, last: Column, bits: int) -> Iterable[tuple[int, Column]]:
    return ((length, starts) for length, starts, _ in _cut_chosen(first, last, bits))


def _cut_chosen(
    first: Column, last: Column, bits: int
) -> Iterable[tuple[int, Column, NDArray[np.intp]]]:
    """Cuts prefixes off both ends of all spans, the smallest prefixes first.

    Yields their length, their network addresses, and the indices of the spans they are cut from.
    """
    chosen = np.arange(len(first))
    alone = first == last
    if alone.any():
        yield bits, first[alone], chosen[alone]
        first, last, chosen = first[~alone], last[~alone], chosen[~alone]
    end = last + ONE
    for level in range(bits + 1):
        block = np.uint64(1 << level) if level < _HALF else np.uint64(0)
        for starts in (first, end - block):
            cuts = (first < end) & ((first if starts is first else end) & block != 0)
            if cuts.any():
                yield bits - level, starts[cuts], chosen[cuts]
                if starts is first:
                    first = np.where(cuts, first + block, first)
                else:
                    end = np.where(cuts, end - block, end)
        left = first < end
        if not left.any():
            return
        first, end, chosen = first[left], end[left], chosen[left]


def records(template: bytes, at: int, width: int, addresses: bytes) -> bytes:
    rows = np.empty((len(addresses) // width, len(template)), np.uint8)
    rows[:] = np.frombuffer(template, np.uint8)
    rows[:, at : at + width] = np.frombuffer(addresses, np.uint8).reshape(-1, width)
    return bytes(rows.tobytes())


def fields(template: bytes, at: int, width: int, data: bytes) -> bytes | None:
    rows = np.frombuffer(data, np.uint8).reshape(-1, len(template))
    same = rows == np.frombuffer(template, np.uint8)
    same[:, at : at + width] = True
    return bytes(rows[:, at : at + width].tobytes()) if same.all() else None


def ranges(
    width: int, addresses: bytes, lengths: bytes, reserved: Iterable[tuple[int, int]]
) -> bytes | None:
    """The packed spans of prefixes; None if one has host bits set or meets a reserved span."""
    first = np.frombuffer(addresses, np.uint8).reshape(-1, width)
    masks = np.array([_host_bits(width, n) for n in range(8 * width + 1)])
    hosts = masks.take(np.frombuffer(lengths, np.uint8), axis=0)
    if (first & hosts).any():
        return None
    data = np.concatenate((first, first | hosts), axis=1)
    kind = ">u4" if width == 4 else "S16"
    lows, highs = data.view(kind).T
    for span in reserved:
        low, high = (np.frombuffer(end.to_bytes(width, "big"), kind) for end in span)
        if ((lows <= high) & (highs >= low)).any():
            return None
    return bytes(data.tobytes())


def _host_bits(width: int, length: int) -> NDArray[np.uint8]:
    mask = (1 << (8 * width - length)) - 1
    return np.frombuffer(mask.to_bytes(width, "big"), np.uint8)
