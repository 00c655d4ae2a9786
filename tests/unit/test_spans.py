"""Packed spans, small and large, against Python's sets of pieces of the address space."""

import ipaddress
import operator
import random
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import NamedTuple, TypeVar
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import is_canonical
from vipctl.addresses import bulk, spans
from vipctl.addresses.few import BITS, WIDTH, Span
from vipctl.addresses.prefixes import address
from vipctl.addresses.spans import Spans, shared

T = TypeVar("T")
ALWAYS, NEVER = 0, 1 << 40  # spans beyond which it is for numpy
SCATTERED = {
    version: [(at, at) for at in sorted(random.Random(1).sample(range(1 << bits - 1), 90))]
    for version, bits in ((4, 32), (6, 62))
}
SCATTERED[6] = [(at << 64 | at, at << 64 | at) for at, _ in SCATTERED[6]]
MOST = 12  # bounds, beside those at the ends


class Ground(NamedTuple):
    """The address space in pieces: the n-th begins at bound n."""

    version: int
    bounds: list[int]

    def piece(self, first: int, last: int) -> Span:
        """From the beginning of a piece to the end of another."""
        return self.bounds[first], self.bounds[last + 1] - 1

    def listed(self, pieces: Iterable[int]) -> list[Span]:
        """The naive canonical form."""
        chosen = sorted(pieces)
        begins = [n for n in chosen if n - 1 not in chosen]
        ends = [n for n in chosen if n + 1 not in chosen]
        return [self.piece(*pair) for pair in zip(begins, ends, strict=True)]

    def spans(self, pieces: Iterable[int]) -> Spans:
        return Spans.from_pairs(self.version, [self.piece(n, n) for n in pieces])


def bounds(version: int) -> st.SearchStrategy[list[int]]:
    """Edges of the whole, of each prefix length, of a /64, and any; some next to each other."""
    top = 1 << BITS[version]
    powers = st.integers(0, BITS[version]).map(lambda n: 1 << n)
    networks = st.integers(1, 255).map(lambda n: n << BITS[version] // 2)
    near = st.tuples(powers | networks, st.sets(st.integers(-2, 2), min_size=1, max_size=3)).map(
        lambda found: {found[0] + step for step in found[1]}
    )
    anywhere = st.integers(0, top).map(lambda value: {value})
    some = st.lists(near | near | anywhere, max_size=MOST).map(lambda found: set().union(*found))
    ends = st.sets(st.sampled_from([0, 1, top - 1, top]))
    return st.tuples(some, ends).map(lambda found: _ascending(top, *found))


def _ascending(top: int, some: set[int], ends: set[int]) -> list[int]:
    found = sorted({min(max(value, 0), top) for value in some} | ends)
    return found if len(found) > 2 else [0, 1, top]


grounds = st.sampled_from([4, 6]).flatmap(
    lambda version: st.builds(Ground, st.just(version), bounds(version))
)


@st.composite
def sets(draw: st.DrawFn, number: int) -> tuple[Ground, list[set[int]]]:
    """So many sets of pieces of one ground."""
    ground = draw(grounds)
    pieces = st.sets(st.integers(0, len(ground.bounds) - 2))
    return ground, [draw(pieces) for _ in range(number)]


def either_way(work: Callable[[], T]) -> T:
    """What both implementations make of it."""
    with mock.patch.object(spans, "NUMPY_FROM", NEVER):
        pure = work()
    with mock.patch.object(spans, "NUMPY_FROM", ALWAYS):
        assert work() == pure
    return pure


def pieces_of(width: int, data: bytes) -> list[bytes]:
    assert len(data) % width == 0
    return [data[at : at + width] for at in range(0, len(data), width)]


# sets


@given(sets(1), st.randoms())
def test_any_order_and_any_overlap_is_one_form(
    drawn: tuple[Ground, list[set[int]]], dice: random.Random
) -> None:
    ground, (pieces,) = drawn
    joined = ground.listed(pieces)
    parts = [ground.piece(n, n) for n in pieces] * 2 + joined
    dice.shuffle(parts)
    found = either_way(lambda: Spans.from_pairs(ground.version, parts))
    assert list(found) == joined == [found[at] for at in range(len(found))]
    assert found.size() == sum(last - first + 1 for first, last in joined)


@pytest.mark.parametrize(
    ("operation", "model"),
    [(operator.or_, set.union), (operator.sub, set.difference), (operator.and_, set.intersection)],
    ids=["union", "difference", "intersection"],
)
@given(drawn=sets(2))
def test_arithmetic(
    operation: Callable[[Spans, Spans], Spans],
    model: Callable[[set[int], set[int]], set[int]],
    drawn: tuple[Ground, list[set[int]]],
) -> None:
    ground, both = drawn
    left, right = map(ground.spans, both)
    found = either_way(lambda: operation(left, right))
    assert list(found) == ground.listed(model(*both))
    assert found.version == ground.version


def without(left: list[Span], right: list[Span]) -> list[Span]:
    return [span for span in left if span not in right]


def overlapping(left: list[Span], right: list[Span]) -> list[Span]:
    return [(a, b) for a, b in left if any(a <= last and first <= b for first, last in right)]


def touching(left: list[Span], right: list[Span]) -> list[Span]:
    return overlapping(left, [(first - 1, last + 1) for first, last in right])


@pytest.mark.parametrize("model", [without, overlapping, touching])
@given(drawn=sets(2))
def test_whole_spans(
    model: Callable[[list[Span], list[Span]], list[Span]], drawn: tuple[Ground, list[set[int]]]
) -> None:
    ground, both = drawn
    left, right = map(ground.spans, both)
    found = either_way(lambda: getattr(left, model.__name__)(right))
    assert list(found) == model(list(left), list(right))
    alike = either_way(lambda: getattr(left, model.__name__)(left))
    assert list(alike) == model(list(left), list(left))


@given(st.integers(0, 4).flatmap(sets))
def test_what_is_in_more_than_one(drawn: tuple[Ground, list[set[int]]]) -> None:
    ground, several = drawn
    times = Counter(piece for pieces in several for piece in pieces)
    found = either_way(lambda: spans.shared(ground.version, map(ground.spans, several)))
    assert list(found) == ground.listed(piece for piece, number in times.items() if number > 1)


@given(sets(1))
def test_it_knows_its_addresses_and_how_many(drawn: tuple[Ground, list[set[int]]]) -> None:
    ground, (pieces,) = drawn
    found = ground.spans(pieces)
    for number, (first, end) in enumerate(pairwise(ground.bounds)):
        assert found.holds(first) is found.holds(end - 1) is (number in pieces)
    lengths = (ground.bounds[n + 1] - ground.bounds[n] for n in pieces)
    assert either_way(found.size) == sum(lengths)
    assert bool(found) == bool(pieces)


# prefixes


def networks(version: int, found: Iterable[Span]) -> Iterable[tuple[int, bytes]]:
    """Length and packed address of each prefix, as the standard library cuts them."""
    for first, last in found:
        ends = address(version, first), address(version, last)
        for network in ipaddress.summarize_address_range(*ends):
            yield network.prefixlen, network.network_address.packed


def cut(found: Spans) -> dict[int, list[bytes]]:
    """The prefixes of each length; in which order does not matter."""
    width = WIDTH[found.version]
    return {n: sorted(pieces_of(width, packed)) for n, packed in found.prefixes().items()}


@given(sets(1))
def test_prefixes_are_those_of_the_standard_library(drawn: tuple[Ground, list[set[int]]]) -> None:
    ground, (pieces,) = drawn
    found = ground.spans(pieces)
    wanted: dict[int, list[bytes]] = {}
    for length, packed in networks(ground.version, found):
        wanted.setdefault(length, []).append(packed)
    assert either_way(lambda: cut(found)) == wanted
    assert either_way(found.lengths) == {length: len(some) for length, some in wanted.items()}


@given(sets(1))
def test_prefixes_cover_all_and_no_two_could_be_one(drawn: tuple[Ground, list[set[int]]]) -> None:
    ground, (pieces,) = drawn
    found, bits = ground.spans(pieces), BITS[ground.version]
    cuts = [
        (int.from_bytes(packed, "big"), 1 << bits - length)
        for length, several in either_way(lambda: cut(found)).items()
        for packed in several
    ]
    assert all(start % size == 0 for start, size in cuts)
    assert all((start ^ size, size) not in cuts for start, size in cuts)
    ordered = sorted((start, start + size - 1) for start, size in cuts)
    assert all(left[1] < right[0] for left, right in pairwise(ordered))
    assert Spans.from_pairs(ground.version, ordered) == found
    assert is_canonical(found)


# records

widths = st.sampled_from([4, 8, 16, 32])


@st.composite
def packed(draw: st.DrawFn) -> tuple[bytes, int, int, bytes]:
    """Template, offset, width, and addresses that take their place there."""
    width, before, behind = draw(widths), draw(st.binary(max_size=9)), draw(st.binary(max_size=9))
    addresses = draw(st.lists(st.binary(min_size=width, max_size=width), max_size=9))
    return before + bytes(width) + behind, len(before), width, b"".join(addresses)


@given(packed())
def test_records_and_back(drawn: tuple[bytes, int, int, bytes]) -> None:
    template, at, width, addresses = drawn
    made = either_way(lambda: spans.records(template, at, width, addresses))
    before, behind = template[:at], template[at + width :]
    assert made == b"".join(before + one + behind for one in pieces_of(width, addresses))
    assert either_way(lambda: spans.fields(template, at, width, made)) == addresses


@given(packed(), st.integers(0), st.integers(1, 255))
def test_other_records_are_none(
    drawn: tuple[bytes, int, int, bytes], where: int, other: int
) -> None:
    """A byte of one is another; or one of them is cut short."""
    template, at, width, addresses = drawn
    made = bytearray(spans.records(template, at, width, addresses))
    assert either_way(lambda: spans.fields(template, at, width, bytes(made) + b"x")) is None
    if made:
        where %= len(made)
        made[where] ^= other
        inside = at <= where % len(template) < at + width
        found = either_way(lambda: spans.fields(template, at, width, bytes(made)))
        assert (found is not None) is inside


@given(widths, st.data())
def test_records_of_one_and_not_of_another(width: int, data: st.DataObject) -> None:
    """With zeros at the end among them, that a string of C would lose."""
    one = st.binary(min_size=width, max_size=width) | st.integers(0, 3).map(
        lambda n: bytes([n]).ljust(width, b"\0")
    )
    left, right = (data.draw(st.lists(one, unique=True, max_size=9)) for _ in range(2))
    some, others = b"".join(left), b"".join(right)
    rest = either_way(lambda: spans.records_without(width, some, others))
    assert pieces_of(width, rest) == [record for record in left if record not in right]
    both = either_way(lambda: spans.common(width, some, others))
    assert pieces_of(width, both) == [record for record in left if record in right]


@given(st.sets(st.binary(min_size=32, max_size=32), max_size=9), st.data())
def test_records_that_no_number_tells_apart(records: set[bytes], data: st.DataObject) -> None:
    left, right = (
        data.draw(st.lists(st.sampled_from(sorted(records)), unique=True)) if records else []
        for _ in range(2)
    )
    alike = mock.patch.object(bulk, "_mixture", lambda words: words[:, 0] & np.uint64(1))
    with alike, mock.patch.object(spans, "NUMPY_FROM", ALWAYS):
        rest = spans.records_without(32, b"".join(left), b"".join(right))
    assert pieces_of(32, rest) == [record for record in left if record not in right]


# what a million need not be sorted for


@pytest.mark.parametrize("version", BITS)
def test_the_same_set_is_recognised(version: int) -> None:
    some, same = (Spans.from_pairs(version, SCATTERED[version]) for _ in range(2))
    nothing = Spans(version)
    with mock.patch.object(bulk, "np", None), mock.patch.object(spans, "NUMPY_FROM", ALWAYS):
        assert some - same == nothing
        assert some & same == some | same == some.touching(same) == some.overlapping(same) == some
        assert some.without(same) == nothing


def test_sets_that_are_sorted_are_not_sorted_anew() -> None:
    some, others = (Spans.from_pairs(6, SCATTERED[6][at:]) for at in (0, 30))
    less = Spans.from_pairs(6, SCATTERED[6][:60])
    sorting = mock.patch("numpy.lexsort", side_effect=AssertionError)
    with sorting, mock.patch.object(spans, "NUMPY_FROM", ALWAYS):
        assert (some - others).data == some.data[: 30 * 32]
        assert some & less == less & some == less
        assert less | others == some
        assert shared(6, [less, others]) == Spans(6, some.data[30 * 32 : 60 * 32])
        assert some.without(others).data == some.data[: 30 * 32]
