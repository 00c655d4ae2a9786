"""Few prefixes that cover a set of addresses: what a router is told of it. Pure."""

from bisect import bisect_left, bisect_right

from vipctl.addresses.few import BITS, Span, cut
from vipctl.addresses.spans import Spans
from vipctl.errors import Refused

WIDEST = {4: 8, 6: 32}  # the length of the largest blocks


def covering(held: Spans, most: int) -> Spans:
    """The set itself if its minimal list has at most `most` prefixes; else a set around it.

    That one is made of blocks of one length, the longest with which the list is short enough; and
    of each prefix of blocks only the smallest is taken that has all addresses held in it. Raises
    Refused if `most` are not enough even so.
    """
    if _count(held) <= most:
        return held
    lengths = range(WIDEST[held.version], BITS[held.version])
    enough = bisect_right(lengths, most, key=lambda length: _count(held.widened(length)))
    if not enough:
        least = _count(held.widened(lengths[0]))
        raise Refused(
            f"{most} routes do not cover the IPv{held.version} ranges, not even by whole "
            f"/{lengths[0]}",
            hint=f"allow more: --max-routes {least}",
        )
    return _tightened(held, held.widened(lengths[enough - 1]))


def _count(spans: Spans) -> int:
    return sum(spans.lengths().values())


def _tightened(held: Spans, blocks: Spans) -> Spans:
    prefixes = (part for span in blocks for part in cut(blocks.version, *span))
    return Spans.from_pairs(
        held.version,
        (_smallest(held, first, BITS[held.version] - length) for first, length in prefixes),
    )


def _smallest(held: Spans, start: int, host_bits: int) -> Span:
    """The smallest prefix with what is held of another, which has the address `start`."""
    end, places = start | (1 << host_bits) - 1, range(len(held))
    low = bisect_left(places, start, key=lambda n: held[n][1])
    high = bisect_right(places, end, key=lambda n: held[n][0]) - 1
    first, last = max(start, held[low][0]), min(end, held[high][1])
    hosts = (1 << (first ^ last).bit_length()) - 1
    return first & ~hosts, last | hosts
