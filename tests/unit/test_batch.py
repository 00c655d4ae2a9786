"""Packed prefixes against Python's sets of entries."""

from collections.abc import Callable
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.holding import Row, held_by
from vipctl.addresses import spans
from vipctl.addresses.few import BITS
from vipctl.addresses.prefixes import from_spans
from vipctl.services import batch
from vipctl.services.batch import Batch
from vipctl.services.change import Entry, Shape

MARKS = {"web": 17, "dns": 18, "other": 0x1001}

shapes = st.builds(Shape, st.sampled_from([4, 6]), st.integers(0, 1), st.integers(24, 26))
prefixes = st.builds(
    lambda shape, number: (shape, number << BITS[shape.version] - 26), shapes, st.integers(1, 12)
)
sets = st.dictionaries(prefixes, st.sampled_from(sorted(MARKS.values())), max_size=30).map(
    lambda found: {Entry(*prefix, mark) for prefix, mark in found.items()}
)
small_and_large = pytest.mark.parametrize("many", [0, 1 << 40], ids=["numpy", "pure"])


def read(found: Batch) -> set[Entry]:
    """None of it is empty, or there twice."""
    entries = list(batch.entries(found))
    assert len(entries) == len(set(entries)) == batch.count(found)
    assert all(found.values())
    return set(entries)


def without(some: set[Entry], others: set[Entry]) -> set[Entry]:
    return some - others


def elsewhere(some: set[Entry], others: set[Entry]) -> set[Entry]:
    return {entry for entry in some if entry[:2] not in {other[:2] for other in others}}


def also_in(some: set[Entry], others: set[Entry]) -> set[Entry]:
    return some - elsewhere(some, others)


@given(sets)
def test_entries_and_back(some: set[Entry]) -> None:
    assert read(batch.of_entries(some)) == some


@small_and_large
@pytest.mark.parametrize("model", [without, elsewhere, also_in])
@given(some=sets, others=sets)
def test_what_of_one_is_in_another(
    model: Callable[[set[Entry], set[Entry]], set[Entry]],
    many: int,
    some: set[Entry],
    others: set[Entry],
) -> None:
    with mock.patch.object(spans, "NUMPY_FROM", many):
        found = getattr(batch, model.__name__)(*map(batch.of_entries, (some, others)))
    assert read(found) == model(some, others)


@given(sets, sets)
def test_what_has_nothing_in_common_is_joined(some: set[Entry], others: set[Entry]) -> None:
    found = batch.union(batch.of_entries(some), batch.of_entries(elsewhere(others, some)))
    assert read(found) == some | elsewhere(others, some)


@given(sets)
def test_by_shape_marks_are_forgotten(some: set[Entry]) -> None:
    found = batch.by_shape(batch.of_entries(some))
    without = batch.of_entries(entry._replace(mark=0) for entry in some)
    assert found.keys() == {shape for shape, _ in without}
    assert read({(shape, 0): addresses for shape, addresses in found.items()}) == read(without)


@small_and_large
@given(some=sets, others=sets)
def test_the_same_is_the_same_in_any_order(many: int, some: set[Entry], others: set[Entry]) -> None:
    shape = Shape(6, 0, 24)
    left, right = (
        {mark: a for (_, mark), a in batch.of_entries(_of(shape, s)).items()}
        for s in (some, others)
    )
    turned = {mark: _turned(addresses) for mark, addresses in left.items()}
    with mock.patch.object(spans, "NUMPY_FROM", many):
        assert batch.same(16, left, turned | {99: b""})
        assert batch.same(16, left, right) is (_of(shape, some) == _of(shape, others))
        for mark, addresses in left.items():
            less = left | {mark: addresses[16:]}
            assert not batch.same(16, less, left)
            assert not batch.same(16, left, less)


def _of(shape: Shape, some: set[Entry]) -> set[Entry]:
    return {entry for entry in some if entry.shape == shape}


def _turned(addresses: bytes) -> bytes:
    return b"".join(addresses[at : at + 16] for at in reversed(range(0, len(addresses), 16)))


def test_held_spans_are_their_prefixes_with_the_services_marks() -> None:
    rows = [Row("web", 4, 0, 8, 12), Row("dns", 4, 0, 16, 31), Row("dns", 4, 1, 12, 12)]
    assert read(batch.of(held_by(rows), MARKS)) == {
        Entry(Shape(4, 0, 30), 8, 17),
        Entry(Shape(4, 0, 32), 12, 17),
        Entry(Shape(4, 0, 28), 16, 18),
        Entry(Shape(4, 1, 32), 12, 18),
    }


@small_and_large
@given(numbers=st.sets(st.integers(0, 300)))
def test_one_service_holds_what_its_set_does(many: int, numbers: set[int]) -> None:
    wanted = from_spans((6, (number, number)) for number in numbers)
    rows = [Row("web", 6, 2, *span) for span in wanted.v6]
    with mock.patch.object(spans, "NUMPY_FROM", many):
        found = batch.of(held_by(rows), MARKS)
    assert batch.count(found) == wanted.count()
    assert sum(1 << 128 - entry.shape.length for entry in read(found)) == len(numbers)
