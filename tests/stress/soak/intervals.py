"""Sets of addresses as sorted intervals that neither overlap nor touch; none of it is vipctl's.

An address is its number: below 2**32 it is one of IPv4, and no IPv6 VIP of a soak is that low.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network

Interval = tuple[int, int]  # first, last
Spans = tuple[Interval, ...]


def tidy(intervals: Iterable[Interval]) -> Spans:
    """Return the same addresses, as few intervals."""
    merged: list[Interval] = []
    for first, last in sorted(intervals):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return tuple(merged)


def common(left: Spans, right: Spans) -> Spans:
    """Return what is in both."""
    return tuple(_common(left, right))


def _common(left: Spans, right: Spans) -> Iterator[Interval]:
    i = j = 0
    while i < len(left) and j < len(right):
        first, last = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if first <= last:
            yield first, last
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1


def minus(left: Spans, right: Spans) -> Spans:
    """Return what is in the left only."""
    edges = [edge for first, last in right for edge in (first - 1, last + 1)]
    outside = [-1, *edges, 1 << 129]
    return common(left, tuple(zip(outside[::2], outside[1::2], strict=True)))


def points(values: Iterable[int]) -> Spans:
    """Return single addresses as a set."""
    return tidy((value, value) for value in values)


def holds(spans: Spans, value: int) -> bool:
    """Whether an address is in."""
    index = bisect_right(spans, (value, 1 << 129)) - 1
    return index >= 0 and spans[index][1] >= value


def size(spans: Spans) -> int:
    """How many addresses are in."""
    return sum(last - first + 1 for first, last in spans)


def fewest_prefixes(spans: Spans) -> int:
    """How many prefixes it takes to say the same."""
    return sum(1 for first, last in spans for _ in _cut(first, last))


def _cut(first: int, last: int) -> Iterator[int]:
    """Yield the length of each prefix, in addresses."""
    while first <= last:
        fitting = 1 << ((last - first + 1).bit_length() - 1)
        length = min(first & -first or fitting, fitting)
        yield length
        first += length


def is_prefix(first: int, last: int) -> bool:
    """Whether an interval is exactly a prefix."""
    return sum(1 for _ in _cut(first, last)) == 1


def text(value: int) -> str:
    """Write an address."""
    return str(ip_address(value))


def read(words: Iterable[str]) -> Spans:
    """Read prefixes."""
    networks = map(ip_network, words)
    return tidy((int(net.network_address), int(net.broadcast_address)) for net in networks)
