"""Rows of many spans: how they split, and that nobody notices, at random against sets."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.unit.committing import commit
from tests.unit.holding import Row, flat, held_by
from tests.unit.strategies import is_canonical
from vipctl.addresses import spans
from vipctl.addresses.few import BITS, WIDTH, Span, cut
from vipctl.addresses.spans import Spans
from vipctl.services.change import Change, Place, Shape
from vipctl.services.service import Service
from vipctl.state import rows as state_rows
from vipctl.state.store import Store

CHUNK = 4
PLACES = [Place("web", 4, 0), Place("web", 4, 1), Place("web", 6, 0), Place("dns", 4, 0)]
SERVICES = Service("web", 17), Service("dns", 18)
BASE = {4: 0xCB007100, 6: (0x20010DB8 << 96) - 20}  # the latter across a border of a /64
SLOTS = 40  # spans of up to three addresses, with a gap behind each

places = st.sampled_from(PLACES)
slots = st.sets(st.integers(0, SLOTS - 1), max_size=25)


def span(version: int, slot: int) -> Span:
    first = BASE[version] + 5 * slot
    return first, first + slot % 3


def spans_of(version: int, chosen: Iterable[int]) -> Spans:
    return Spans.from_pairs(version, [span(version, slot) for slot in chosen])


@contextmanager
def small(*, many: int) -> Iterator[None]:
    """Rows of few spans, of which few are looked for one by one."""
    with ExitStack() as patches:
        for module, name, value in ((state_rows, "CHUNK", CHUNK), (state_rows, "FEW", 3)):
            patches.enter_context(mock.patch.object(module, name, value))
        patches.enter_context(mock.patch.object(spans, "NUMPY_FROM", many))
        yield


def rows(found: Store, place: Place) -> list[list[Span]]:
    """As they are in the database, in the order of their keys."""
    query = "SELECT first, spans FROM chunk WHERE service = ? AND version = ? AND plane = ?"
    listed = list(found._db.execute(query + " ORDER BY first", place))
    assert all(data[: WIDTH[place.version]] == first for first, data in listed)
    return [list(Spans(place.version, data)) for _, data in listed]


class Keeping(RuleBasedStateMachine):
    """What is there is released, what is not there is taken: anywhere, some of it."""

    many = 1 << 40

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(dir="/dev/shm"))
        self.patches = ExitStack()
        self.patches.enter_context(small(many=self.many))
        self.store = Store.open(self.directory / "state")
        commit(self.store, Change(after=SERVICES))
        self.model: dict[Place, set[int]] = {place: set() for place in PLACES}

    def teardown(self) -> None:
        self.store.close()
        self.patches.close()
        shutil.rmtree(self.directory)

    @rule(place=places, chosen=slots)
    def exchange(self, place: Place, chosen: set[int]) -> None:
        self._commit(place, chosen & self.model[place], chosen - self.model[place])

    @rule(place=places, chosen=slots)
    def take(self, place: Place, chosen: set[int]) -> None:
        self._commit(place, set(), chosen - self.model[place])

    @rule(place=places, first=st.integers(0, SLOTS), number=st.integers(1, SLOTS))
    def release_a_stretch(self, place: Place, first: int, number: int) -> None:
        self._commit(place, self.model[place] & {*range(first, first + number)}, set())

    @rule(first=places, other=places, chosen=slots)
    def exchange_in_two(self, first: Place, other: Place, chosen: set[int]) -> None:
        changes = {p: (chosen & self.model[p], chosen - self.model[p]) for p in (first, other)}
        released = {p: spans_of(p.version, gone) for p, (gone, _) in changes.items()}
        taken = {p: spans_of(p.version, come) for p, (_, come) in changes.items()}
        commit(self.store, Change(released=released, taken=taken))
        for place, (gone, come) in changes.items():
            self.model[place] = self.model[place] - gone | come

    def _commit(self, place: Place, gone: set[int], come: set[int]) -> None:
        sides = (spans_of(place.version, side) for side in (gone, come))
        released, taken = ({place: side} if side else {} for side in sides)
        commit(self.store, Change(released=released, taken=taken))
        self.model[place] = self.model[place] - gone | come

    def _held(self) -> list[Row]:
        return [
            Row(*place, *span(place.version, slot))
            for place in sorted(self.model)
            for slot in sorted(self.model[place])
        ]

    # what always holds

    @invariant()
    def all_is_held(self) -> None:
        held = self._held()
        assert self.store.held() == held_by(held)
        for service in ("web", "dns"):
            assert flat(self.store.held(service)) == [r for r in held if r.service == service]

    @invariant()
    def rows_are_ordered_and_neither_empty_nor_long(self) -> None:
        for place in PLACES:
            found = rows(self.store, place)
            assert all(0 < len(row) <= 2 * CHUNK for row in found)
            assert is_canonical(held for row in found for held in row)

    @invariant()
    def touching_is_what_is_near(self) -> None:
        for version in (4, 6):
            for chosen in (
                [(-1, 0)],
                [(3, 3)],
                [(8, 9), (11, 11)],
                [(n, n) for n in range(4, 99, 9)],
            ):
                asked = [(BASE[version] + first, BASE[version] + last) for first, last in chosen]
                found = self.store.touching(Spans.from_pairs(version, asked))
                assert flat(found) == [r for r in self._held() if _near(r, version, asked)]

    @invariant()
    def tallies_are_a_recount(self) -> None:
        recount = Counter(
            (row.service, Shape(row.version, row.plane, length))
            for row in self._held()
            for _, length in cut(row.version, *row.span)
        )
        assert {(name, shape): n for name, shape, n in self.store.tallies()} == dict(recount)

    @invariant()
    def the_outermost_are_the_ends(self) -> None:
        for service, version in (("web", 4), ("web", 6), ("dns", 4), ("dns", 6)):
            found = self.store.outermost(service, version)
            assert found.keys() == {
                place
                for place, some in self.model.items()
                if some and place[:2] == (service, version)
            }
            for place, ends in found.items():
                some = self.model[place]
                assert ends == spans_of(version, {min(some), max(some)})


def _near(row: Row, version: int, asked: list[Span]) -> bool:
    return row.version == version and any(
        row.first <= last + 1 and first - 1 <= row.last for first, last in asked
    )


class KeepingMany(Keeping):
    """The same with numpy."""

    many = 0


TestKeeping, TestKeepingMany = Keeping.TestCase, KeepingMany.TestCase
TestKeeping.settings = TestKeepingMany.settings = settings(
    max_examples=8,
    stateful_step_count=15,
    phases=[phase for phase in Phase if phase is not Phase.explain],
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("order", [range(100), range(99, -1, -1)], ids=["ascending", "descending"])
def test_one_after_the_other_does_not_make_a_row_for_each(tmp_path: Path, order: range) -> None:
    place = PLACES[0]
    with small(many=1 << 40), Store.open(tmp_path / "s") as found:
        commit(found, Change(after=SERVICES))
        for slot in order:
            commit(found, Change(taken={place: spans_of(4, [slot])}))
        assert 100 / (2 * CHUNK) <= len(rows(found, place)) <= 100 / CHUNK + 1


@pytest.mark.parametrize("version", BITS)
def test_the_ends_of_the_address_space_have_neighbours(tmp_path: Path, version: int) -> None:
    top = (1 << BITS[version]) - 1
    wanted = [(0, 0), *((n, n) for n in range(2, 60, 2)), (top - 2, top - 2), (top, top)]
    place = Place("web", version, 0)
    with small(many=1 << 40), Store.open(tmp_path / "s") as found:
        commit(found, Change(after=SERVICES, taken={place: Spans.from_pairs(version, wanted)}))
        for asked, near in {(1, 1): wanted[:2], (top - 1, top - 1): wanted[-2:]}.items():
            touching = found.touching(Spans.from_pairs(version, [asked]))
            assert list(touching[place]) == near
