"""The planner and the store, driven at random against a dictionary of sets."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.unit.committing import commit
from tests.unit.holding import Row, flat
from tests.unit.strategies import addresses, is_canonical
from vipctl.addresses.few import BITS, cut
from vipctl.addresses.prefixes import AddressSet, from_spans
from vipctl.addresses.spans import Spans
from vipctl.errors import Refused
from vipctl.services import planner
from vipctl.services.change import Change, Shape
from vipctl.services.service import Service, plain, ports_disjoint
from vipctl.services.values import Port
from vipctl.state.store import Store

Model = dict[str, set[tuple[int, int]]]  # by service: (version, address)
Sharing = tuple[tuple[Port, ...], bool]  # what decides with whom a service may share: ports, ping
Rows = tuple[list[Row], dict[str, dict[str, object]], list[tuple[str, Shape, int]]]

TCP, UDP, WEB = Port("tcp", 80), Port("udp", 53), Port("tcp", 443)
PORTS: dict[str, tuple[Port, ...]]
PORTS = {"a": (), "b": (TCP,), "c": (UDP,), "d": (WEB,), "e": (TCP, WEB)}
WIDTH = 12  # addresses: so few that services often meet
BASE = (1 << 32) - WIDTH  # the last addresses of IPv4, and the same numbers in IPv6

names = st.sampled_from(sorted(PORTS))
ends = st.tuples(st.integers(BASE, BASE + WIDTH - 1), st.integers(BASE, BASE + WIDTH - 1))
one_span = st.tuples(st.sampled_from([4, 6]), ends.map(lambda drawn: (min(drawn), max(drawn))))
some = st.lists(one_span, min_size=1, max_size=3).map(from_spans)
states = st.dictionaries(names, st.lists(one_span, max_size=2).map(from_spans), max_size=4)
port_lists = st.sampled_from(sorted(set(PORTS.values())))
sharing = st.tuples(port_lists, st.sampled_from([False, False, False, True]))


def members(wanted: AddressSet) -> set[tuple[int, int]]:
    return {(version, value) for version in BITS for value in addresses(wanted.spans(version))}


def near(store: Store, version: int, low: int, high: int) -> list[Row]:
    """What overlaps these addresses, or is next to them."""
    same = [held for held in flat(store.held()) if held.version == version]
    return [held for held in same if held.first <= high + 1 and low - 1 <= held.last]


def touching(store: Store, version: int, low: int, high: int) -> list[Row]:
    """The same, as the store finds it."""
    return flat(store.touching(Spans.from_pairs(version, [(low, high)])))


def may_share(left: Service, right: Service) -> bool:
    return ports_disjoint(left, right) and left.ping == right.ping


class Planning(RuleBasedStateMachine):
    """Every rule plans a change, compares the refusal with the model's, and commits."""

    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")
        self.directory = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        self.store = Store.open(self.directory / "state")
        self.model: Model = {}
        self.marks = dict(zip(sorted(PORTS), range(0x1000, 0x1100), strict=False))

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.directory)

    # what happens

    @initialize(wanted=some)
    def share(self, wanted: AddressSet) -> None:
        """Meetings are what planning is about: begin with one."""
        for name in ("b", "c", "d"):
            self.take(name, wanted)

    @rule(name=names, wanted=some)
    def take(self, name: str, wanted: AddressSet) -> None:
        services = dict(self.store.services())
        service = services.get(name) or self._service(name, PORTS[name], ping=False)
        model = self.model | {name: self.model.get(name, set()) | members(wanted)}
        refused = self._conflicts(model, services | {name: service})
        before = services.get(name)
        self._try(refused, model, lambda: planner.take(self.store, before, service, wanted))

    @precondition(lambda self: self.model)
    @rule(data=st.data(), unwanted=some, end_if_empty=st.booleans())
    def release(self, data: st.DataObject, unwanted: AddressSet, end_if_empty: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.model)))
        service = self.store.services()[name]
        change = planner.release(self.store, service, unwanted, end_if_empty=end_if_empty)
        rest = self.model[name] - members(unwanted)
        model = self.model | {name: rest}
        if end_if_empty and not rest:
            del model[name]
        self._commit(change, model)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model)))
        model = {n: held for n, held in self.model.items() if n != name}
        self._commit(planner.end(self.store, self.store.services()[name]), model)

    @rule(name=names, settings=sharing, same_ports=st.booleans())
    def alter(self, name: str, settings: Sharing, same_ports: bool) -> None:
        services = dict(self.store.services())
        before, (ports, ping) = services.get(name), settings
        after = self._service(name, before.ports if before and same_ports else ports, ping)
        model = {name: set[tuple[int, int]]()} | self.model
        refused = self._conflicts(model, services | {name: after})
        self._try(refused, model, lambda: planner.alter(self.store, before, after))

    @rule(wanted=states, settings=st.dictionaries(names, sharing))
    def become(self, wanted: dict[str, AddressSet], settings: dict[str, Sharing]) -> None:
        services = {n: self._service(n, *settings.get(n, (PORTS[n], False))) for n in wanted}
        model = {name: members(found) for name, found in wanted.items()}
        asked = {name: (services[name], found) for name, found in wanted.items()}
        refused = self._conflicts(model, services)
        self._try(refused, model, lambda: planner.become(self.store, asked))
        assert refused or not planner.become(self.store, asked), "becoming what it is is a change"

    @precondition(lambda self: self.model)
    @rule(settings=st.dictionaries(names, sharing), wanted=states)
    def become_in_part(self, settings: dict[str, Sharing], wanted: dict[str, AddressSet]) -> None:
        services, model = self.store.services(), self.model
        spans = {n: [(h.version, h.span) for h in flat(self.store.held(n))] for n in model}
        present = {name: from_spans(found) for name, found in spans.items()}
        kept: dict[str, Sharing] = {n: (s.ports, s.ping) for n, s in services.items()}
        self.become(present | wanted, kept | settings)

    @precondition(lambda self: self.model)
    @rule(unwanted=some)
    def ask_for_holders(self, unwanted: AddressSet) -> None:
        found = {n: held & members(unwanted) for n, held in self.model.items()}
        holders = sorted(name for name, held in found.items() if held)
        refused = any(found[left] & found[right] for left, right in combinations(holders, 2))
        if refused:
            with pytest.raises(Refused):
                planner.sole_holders(self.store, unwanted)
        else:
            assert planner.sole_holders(self.store, unwanted) == holders

    # how it is checked

    def _service(self, name: str, ports: tuple[Port, ...], ping: bool) -> Service:
        return Service(name=name, fwmark=self.marks[name], ports=ports, ping=ping)

    def _conflicts(self, model: Model, services: dict[str, Service]) -> bool:
        return any(
            model[left] & model[right] and not may_share(services[left], services[right])
            for left, right in combinations(sorted(model), 2)
        )

    def _try(self, refused: bool, model: Model, plan: Callable[[], Change]) -> None:
        if refused:
            with pytest.raises(Refused, match="would be held by"):
                plan()
        else:
            self._commit(plan(), model)

    def _commit(self, change: Change, model: Model) -> None:
        before = self._rows()
        self._apply(change)
        after = self._rows()
        assert bool(change) == (before != after)
        self._apply(change.inverse())
        assert self._rows() == before, "the inverse is not the way back"
        self._apply(change)
        assert self._rows() == after
        come, gone = set().union(*model.values()), set().union(*self.model.values())
        assert come - gone <= members(change.gained()) <= come
        assert gone - come <= members(change.lost()) <= gone
        self.model = model

    def _apply(self, change: Change) -> None:
        commit(self.store, change)
        assert self.store.intent() is None

    def _rows(self) -> Rows:
        forms = {name: plain(s) for name, s in self.store.services().items()}
        return flat(self.store.held()), forms, sorted(self.store.tallies())

    # what always holds

    @invariant()
    def each_service_holds_what_the_model_says(self) -> None:
        found: Model = {name: set() for name in self.store.services()}
        for held in flat(self.store.held()):
            found[held.service] |= {(held.version, value) for value in addresses([held.span])}
        assert found == self.model

    @invariant()
    def the_spans_of_a_service_are_canonical_and_in_order(self) -> None:
        for name in self.model:
            held = self.store.held(name)
            assert {place.service for place in held} <= {name}
            assert all(map(is_canonical, held.values()))
            for version in BITS:
                spans = (row.span for row in flat(held) if row.version == version)
                assert is_canonical(sorted(spans)), "its planes are"

    @invariant()
    def spans_of_one_plane_never_overlap(self) -> None:
        lookups = Counter(
            (held.version, held.plane, value)
            for held in flat(self.store.held())
            for value in addresses([held.span])
        )
        assert set(lookups.values()) <= {1}

    @invariant()
    def tallies_are_a_recount(self) -> None:
        recount = Counter(
            (held.service, Shape(held.version, held.plane, length))
            for held in flat(self.store.held())
            for _, length in cut(held.version, *held.span)
        )
        assert {(name, shape): n for name, shape, n in self.store.tallies()} == dict(recount)

    @invariant()
    def touching_finds_what_overlaps_or_is_next(self) -> None:
        for version in BITS:
            for first, last in [(0, 0), (0, WIDTH - 1), (3, 8), (WIDTH - 1, WIDTH - 1)]:
                low, high = BASE + first, BASE + last
                found = Counter(touching(self.store, version, low, high))
                assert found == Counter(near(self.store, version, low, high))


TestPlanning = Planning.TestCase
TestPlanning.settings = settings(
    max_examples=40,
    stateful_step_count=20,
    phases=[phase for phase in Phase if phase is not Phase.explain],
    suppress_health_check=[HealthCheck.too_slow],
)
