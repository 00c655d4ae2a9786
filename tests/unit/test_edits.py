"""An edit changes what it names and nothing else: through controller, planner and store."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.committing import commit
from tests.unit.strategies import PORTS, services
from tests.unit.test_options import SAMPLES
from vipctl.addresses.prefixes import AddressSet, from_spans
from vipctl.errors import Refused
from vipctl.operate.changing import Outcome
from vipctl.operate.controller import Controller
from vipctl.services import real
from vipctl.services.change import Change, all_of
from vipctl.services.options import OPTIONS
from vipctl.services.planner import take
from vipctl.services.real import RealServer
from vipctl.services.service import Service, plain
from vipctl.state.store import Store

Piece = tuple[str, ...]  # service, option; of a real server: service, reals, endpoint, option
Dump = dict[Piece, object]
Edit = tuple[set[Piece], Callable[[Controller], Outcome]]  # what may change, and how it is asked
SET = sorted(OPTIONS.keys() - {"method", "fwmark", "source_nat"})  # the rest asks the kernel


class Planned(Controller):
    """Without a kernel: what is planned is stored."""

    def change(self, plan: Callable[[Store], Change], **_more: Any) -> Outcome:
        """As the command does, but for the kernel."""
        with Store.open(self.state_dir) as store:
            change = plan(store)
            commit(store, change)
        return Outcome(change, False, ())


@contextmanager
def director(held: Mapping[Service, AddressSet]) -> Iterator[Planned]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        with Store.open(directory) as store:
            for service, ranges in held.items():
                commit(store, take(store, None, service, ranges))
        yield Planned(directory, force=True)


def dump(controller: Planned) -> Dump:
    """Everything that is stored, piece by piece."""
    with Store.read(controller.state_dir) as store:
        return dict(_pieces(store))


def _pieces(store: Store) -> Iterator[tuple[Piece, object]]:
    for name, service in store.services().items():
        yield (name, "ranges"), list(all_of(store.held(name)).prefixes())
        for option, value in plain(service).items():
            if option != "reals":
                yield (name, option), value
        for one in service.reals:
            for option, value in one.settings().items():
                yield (name, "reals", one.endpoint, option), value


def _ranges(number: int) -> AddressSet:
    """Those of one service, away from all others'."""
    return from_spans([(4, (first := 0xCB007100 + 16 * number, first + 7))])


class Case(NamedTuple):
    held: dict[Service, AddressSet]
    edit: Edit


def _of_real(service: Service, one: RealServer) -> st.SearchStrategy[Edit]:
    path, name, port = (service.name, "reals", one.endpoint), service.name, one.port or None
    where = one.address, port
    drained: set[Piece] = {(*path, "weight"), (*path, "was")}

    def setting(key: str, value: object) -> Edit:
        paths: set[Piece] = drained if key == "weight" else {(*path, key)}
        return paths, lambda on: on.set_real(name, [(*where, {key: value})])

    bounds = st.sampled_from([0, 1, 7, 65535])
    number = st.builds(setting, st.sampled_from(["weight", "upper", "lower"]), bounds)
    forward = st.builds(setting, st.just("forward"), st.sampled_from(["nat", "dr", "tun"]))
    gone = {(*path, option) for option in real.OPTIONS}
    return st.one_of(
        number,
        forward,
        st.just((drained, lambda on: on.drain_real(name, [where]))),
        st.just((drained, lambda on: on.undrain_real(name, [where]))),
        st.just((gone, lambda on: on.remove_real(name, [where]))),
    )


def _of_service(service: Service, number: int) -> st.SearchStrategy[Edit]:
    name = service.name

    def setting(option: str) -> Edit:
        value = SAMPLES[option]
        paths: set[Piece] = {(name, option)}
        if option == "reals":
            ends = {one.endpoint for one in (*service.reals, *value)}
            paths = {(name, "reals", end, key) for end in ends for key in real.OPTIONS}
        return paths, lambda on: on.set_service(name, {option: value})

    def ports(some: tuple[Any, ...], more: bool) -> Edit:
        edit = "add_port" if more else "remove_port"
        return {(name, "ports")}, lambda on: getattr(on, edit)(name, some)

    some = (
        _ranges(number),
        from_spans([(4, (0xCB007100 + 16 * number + 4, 0xCB007100 + 16 * number + 9))]),
    )
    return st.one_of(
        st.sampled_from(SET).map(setting),
        st.builds(ports, PORTS, st.booleans()),
        st.sampled_from(some).map(
            lambda few: ({(name, "ranges")}, lambda on: on.add_range(few, name, {}))
        ),
        st.sampled_from(some).map(
            lambda few: ({(name, "ranges")}, lambda on: on.remove_range(few, name))
        ),
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    count = draw(st.integers(1, 3))
    found = [draw(services(st.just(f"s{n}"), 0x1000 + n)) for n in range(count)]
    at = draw(st.integers(0, count - 1))
    edits = [_of_service(found[at], at), *(_of_real(found[at], one) for one in found[at].reals)]
    held = {service: _ranges(n) for n, service in enumerate(found)}
    return Case(held, draw(st.one_of(edits)))


@settings(max_examples=60)
@given(cases())
def test_an_edit_changes_what_it_names(case: Case) -> None:
    pieces, ask = case.edit
    with director(case.held) as on:
        before = dump(on)
        try:
            done = ask(on)
        except Refused:
            assert dump(on) == before
            return
        after = dump(on)
        changed = {p for p in {*before, *after} if before.get(p) != after.get(p)}
        assert changed <= pieces
        assert bool(changed) is done.changed
        assert ask(on).changed is False
        _apply(case.held, on, {piece[0] for piece in changed})


def _apply(held: Mapping[Service, AddressSet], edited: Planned, names: set[str]) -> None:
    """A document that says the same has no other service change."""
    with Store.read(edited.state_dir) as store:
        wanted = {n: (s, all_of(store.held(n))) for n, s in store.services().items()}
    with director(held) as on:
        change = on.apply({}, lambda _: wanted).change
        assert {service.name for service in (*change.before, *change.after)} == names
        assert dump(on) == dump(edited)
