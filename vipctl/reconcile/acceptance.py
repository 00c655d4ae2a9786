"""What each method has to accept, as the store says, and what a change takes from it and adds."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

from vipctl import methods
from vipctl.services import batch
from vipctl.services.batch import Batch
from vipctl.services.change import NOTHING, Acceptance, Change, Entry, Held, Shape
from vipctl.services.service import Service
from vipctl.state.store import Store

Tally = tuple[str, Shape, int]  # of a service: how many prefixes of a shape
NONE: Batch = {}
Without = Collection[tuple[str, int]]  # methods and IP versions that cannot accept here


class Delta:
    """Prefixes that one method loses and gains; those `arriving` come from another method."""

    def __init__(self, removed: Batch = NONE, added: Batch = NONE, arriving: Batch = NONE) -> None:
        self.removed, self.added, self.arriving = removed, added, arriving

    def parts(self) -> tuple[Batch, Batch, Batch]:
        return self.removed, self.added, self.arriving


def acceptances(store: Store, without: Without = ()) -> dict[str, Acceptance]:
    """What each method in use has to accept."""
    key = f"acceptances without {sorted(without)}"
    if key not in store.derived:
        store.derived[key] = _acceptances(store, without)
    found: dict[str, Acceptance] = store.derived[key]
    return found


def _acceptances(store: Store, without: Without) -> dict[str, Acceptance]:
    services, role = store.services(), store.role()
    tallies: dict[str, list[Tally]] = {}
    for name, shape, count in store.tallies():
        for part in services[name].parts:
            if (part, shape.version) not in without:
                tallies.setdefault(part, []).append((name, shape, count))
    return {
        method: Acceptance(
            tuple(services[name] for name in sorted({name for name, _, _ in found})),
            _shapes(found, sized=methods.get(method).SIZED),
            tuple(_witnesses(store, found)) if methods.get(method).WITNESSED else (),
            store.token(),
            frozenset(services[name].fwmark for name, _, _ in found if name in role.services),
            role.passive,
        )
        for method, found in tallies.items()
    }


def _shapes(tallies: Iterable[Tally], *, sized: bool) -> frozenset[Shape]:
    counts: Counter[Shape] = Counter()
    for _, shape, count in tallies:
        counts[shape] += count
    return frozenset(shape.sized(count) if sized else shape for shape, count in counts.items())


def _witnesses(store: Store, tallies: Iterable[Tally]) -> Iterator[Entry]:
    """The outermost prefixes of each service in each plane."""
    for name, version in sorted({(name, shape.version) for name, shape, _ in tallies}):
        mark = {name: store.services()[name].fwmark}
        for place, spans in store.outermost(name, version).items():
            ends = list(batch.entries(batch.of({place: spans}, mark)))
            yield from {min(ends, key=_start), max(ends, key=_start)}


def _start(entry: Entry) -> int:
    return entry.start


def prefixes(store: Store, method: str, acceptance: Acceptance) -> Batch:
    """All that the method has to accept."""
    marks = {s.name: s.fwmark for s in store.services().values() if s.method == method}
    found: Batch = {}
    for name in marks:
        held = {p: spans for p, spans in store.held(name).items() if acceptance.has(p.version)}
        found = batch.union(found, batch.of(held, marks))
    return batch.sized(found, acceptance.shapes)


def differences(
    store: Store,
    change: Change,
    before: Mapping[str, Acceptance],
    after: Mapping[str, Acceptance],
    without: Without = (),
) -> dict[str, Delta]:
    """What each method loses and gains by a change, in the shapes of its two acceptances."""
    return {
        name: _sized(store, name, delta, before.get(name, NOTHING), after.get(name, NOTHING))
        for name, delta in _deltas(store, change, without).items()
    }


def _deltas(store: Store, change: Change, without: Without) -> dict[str, Delta]:
    """What each method loses and gains, in shapes without room."""
    deltas: dict[str, Delta] = {}
    _collect_ranges(deltas, change, without)
    _collect_altered(deltas, store, change, without)
    _separate_arriving(deltas)
    return deltas


def _collect_ranges(deltas: dict[str, Delta], change: Change, without: Without) -> None:
    """The prefixes of the ranges that services release and take."""
    for service, held in _by_service(change.before, change.released):
        _collect(deltas, service, "removed", held, without)
    for service, held in _by_service(change.after, change.taken):
        _collect(deltas, service, "added", held, without)
    for delta in deltas.values():
        removed, added = delta.removed, delta.added
        delta.removed, delta.added = batch.without(removed, added), batch.without(added, removed)


def _collect_altered(
    deltas: dict[str, Delta], store: Store, change: Change, without: Without
) -> None:
    """A service whose mark or a lasting option (the method is one) changes is loaded anew.

    So its other prefixes are removed and added too.
    """
    new = {service.name: service for service in change.after}
    for before in change.before:
        after = new.get(before.name)
        if after and _lane(before) != _lane(after):
            stay = _stayed(store.held(before.name), change.taken)
            _collect(deltas, before, "removed", stay, without)
            _collect(deltas, after, "added", stay, without)


def _separate_arriving(deltas: dict[str, Delta]) -> None:
    """Marks what may come from another method: what a method gains while another loses some."""
    for name, delta in deltas.items():
        if any(other.removed for method, other in deltas.items() if method != name):
            delta.arriving = batch.elsewhere(delta.added, delta.removed)
            delta.added = batch.without(delta.added, delta.arriving)


def _collect(
    deltas: dict[str, Delta], service: Service, side: str, held: Held, without: Without
) -> None:
    delta = deltas.setdefault(service.method, Delta())
    had = {p: spans for p, spans in held.items() if (service.method, p.version) not in without}
    found = batch.of(had, {service.name: service.fwmark})
    setattr(delta, side, batch.union(getattr(delta, side), found))


def _stayed(held: Held, taken: Held) -> Held:
    return {
        place: spans.without(taken[place]) if place in taken else spans
        for place, spans in held.items()
    }


def _lane(service: Service) -> tuple[object, ...]:
    """What decides where the prefixes of a service are in the kernel, and with which mark."""
    return service.fwmark, *service.values("lasting")


def _by_service(services: Iterable[Service], held: Held) -> Iterator[tuple[Service, Held]]:
    for service in services:
        own = {place: spans for place, spans in held.items() if place.service == service.name}
        if own:
            yield service, own


def _sized(store: Store, name: str, delta: Delta, before: Acceptance, after: Acceptance) -> Delta:
    """The delta in sized shapes: a lookup that needs another room is filled anew, as a whole."""
    come = batch.union(delta.added, delta.arriving)
    stay = _moved(store, name, before, after, batch.sized(come, after.shapes))
    return Delta(
        batch.union(batch.sized(delta.removed, before.shapes), batch.sized(stay, before.shapes)),
        batch.union(batch.sized(delta.added, after.shapes), stay),
        batch.sized(delta.arriving, after.shapes),
    )


def _moved(store: Store, name: str, before: Acceptance, after: Acceptance, come: Batch) -> Batch:
    """Prefixes that stay, but in a lookup with another room."""
    left = {shape.bare() for shape in before.shapes - after.shapes}
    entered = {shape for shape in after.shapes - before.shapes if shape.bare() in left}
    if not entered:
        return {}
    found = prefixes(store, name, after)
    return batch.without({key: found[key] for key in found if key[0] in entered}, come)


def while_arriving(before: Acceptance, after: Acceptance, delta: Delta) -> Acceptance:
    """The state in between: what is there before, and what arrives from other methods."""
    arriving = {mark for _, mark in delta.arriving}
    stay = [s for s in before.services if s.fwmark not in arriving]
    come = [s for s in after.services if s.fwmark in arriving]
    shapes = before.shapes | {shape for shape, _ in delta.arriving}
    return after._replace(services=(*stay, *come), shapes=frozenset(shapes), witnesses=())


def with_ranges(store: Store, change: Change) -> set[tuple[str, int]]:
    """Services, and IP versions of which they have ranges, once the change is made."""
    counts: Counter[tuple[str, int]] = Counter()
    for name, shape, number in store.tallies():
        counts[name, shape.version] += number
    for sign, held in ((-1, change.released), (1, change.taken)):
        for place, spans in held.items():
            counts[place.service, place.version] += sign * sum(spans.lengths().values())
    return {key for key, number in counts.items() if number > 0}
