"""Works out the Change from what is stored to what is asked for. Pure: reads no kernel."""

from collections.abc import Iterable, Mapping
from functools import reduce
from itertools import count
from operator import or_
from typing import Protocol

from vipctl.addresses.prefixes import VERSIONS, AddressSet, span_text
from vipctl.addresses.spans import Spans, shared
from vipctl.errors import Refused
from vipctl.services.change import Change, Held, Place, Shape, of_version
from vipctl.services.marks import free_mark
from vipctl.services.options import EVERY_OPTION
from vipctl.services.service import Service, ports_disjoint


class View(Protocol):
    """What planning reads of the store."""

    def services(self) -> Mapping[str, Service]: ...

    def held(self, service: str | None = None) -> Held: ...

    def touching(self, spans: Spans) -> Held: ...

    def tallies(self) -> list[tuple[str, Shape, int]]: ...


def take(view: View, before: Service | None, after: Service, wanted: AddressSet) -> Change:
    """The change by which `after` holds `wanted` in addition to what `before` held."""
    services = {**view.services(), after.name: after}
    released: dict[Place, Spans] = {}
    taken: dict[Place, Spans] = {}
    for spans in (wanted.v4, wanted.v6):
        own = _own(view.touching(spans), after.name)
        gone, new = _exchange(own, of_version(own, spans.version) | spans)
        released |= gone
        taken |= _place(after.name, new, view.touching(new), services)
    return Change(() if before is None else (before,), (after,), released, taken)


def release(view: View, service: Service, unwanted: AddressSet, *, end_if_empty: bool) -> Change:
    """The change by which `service` holds nothing of `unwanted`.

    With `end_if_empty` it ends if nothing else is left to it.
    """
    released: dict[Place, Spans] = {}
    taken: dict[Place, Spans] = {}
    for spans in (unwanted.v4, unwanted.v6):
        own = _own(view.touching(spans), service.name)
        gone, new = _exchange(own, of_version(own, spans.version) - spans)
        released |= gone
        taken |= _place(service.name, new, view.touching(new), view.services())
    ends = end_if_empty and not taken and _holds_only(view, service.name, released)
    return Change((service,), () if ends else (service,), released, taken)


def sole_holders(
    view: View,
    unwanted: AddressSet,
    hint: str = "say from which one to remove it: --service NAME",
) -> list[str]:
    """Services that hold some of `unwanted`. Raises Refused if two share an address of it."""
    names: set[str] = set()
    for spans in (unwanted.v4, unwanted.v6):
        found = {
            name: of_version(_own(held, name), spans.version) & spans
            for held in (view.touching(spans),)
            for name in {place.service for place in held}
        }
        if twice := shared(spans.version, found.values()):
            left, right, *_ = sorted(n for n, own in found.items() if own.overlapping(twice))
            raise Refused(
                f"services {left!r} and {right!r} share addresses of that range",
                hint=hint,
            )
        names |= {name for name, own in found.items() if own}
    return sorted(names)


def merged(changes: Iterable[Change]) -> Change:
    """Changes of different services as one, without those that change nothing."""
    some = [change for change in changes if change]
    return Change(
        tuple(s for c in some for s in c.before),
        tuple(s for c in some for s in c.after),
        {place: spans for c in some for place, spans in c.released.items()},
        {place: spans for c in some for place, spans in c.taken.items()},
    )


def end(view: View, service: Service) -> Change:
    """The change that removes a service and all that it holds."""
    return Change(before=(service,), released=view.held(service.name))


def alter(view: View, before: Service | None, after: Service) -> Change:
    """The change of a service's settings alone; or a new service without addresses.

    Raises Refused if it shares VIPs with another service and no longer may.
    """
    if before is None:
        return Change(after=(after,))
    if _sharing(before) != _sharing(after):
        services = {**view.services(), after.name: after}
        own = view.held(before.name)
        for version in VERSIONS:
            spans = of_version(own, version)
            _refuse_conflicts(after.name, spans, view.touching(spans), services)
    return Change(before=(before,), after=(after,))


def become(view: View, wanted: Mapping[str, tuple[Service, AddressSet]]) -> Change:
    """The change that makes the whole state `wanted` (by name), and nothing else.

    Raises Refused where two services may not share addresses.
    """
    services, present = view.services(), view.held()
    after = {name: service for name, (service, _) in wanted.items()}
    released: dict[Place, Spans] = {}
    taken: dict[Place, Spans] = {}
    for version in VERSIONS:
        kept: dict[Place, Spans] = {}
        fresh: dict[str, Spans] = {}
        for name in sorted(services.keys() | wanted.keys()):
            addresses = wanted[name][1] if name in wanted else AddressSet()
            own = {p: s for p, s in _own(present, name).items() if p.version == version}
            gone, fresh[name] = _exchange(own, addresses.spans(version))
            released |= gone
            kept |= {place: spans.without(gone.get(place, _NONE)) for place, spans in own.items()}
        taken |= _settle(version, kept, fresh, after)
    moved = {place.service for place in (*released, *taken)}
    same = {name for name in services if after.get(name) == services[name] and name not in moved}
    return Change(
        tuple(s for n, s in services.items() if n not in same),
        tuple(s for n, s in after.items() if n not in same),
        released,
        taken,
    )


def _settle(
    version: int, kept: Held, fresh: Mapping[str, Spans], services: Mapping[str, Service]
) -> Held:
    """Finds planes for fresh spans. Checks all: services that shared VIPs may no longer do so."""
    settled = {place: spans for place, spans in kept.items() if spans}
    taken: dict[Place, Spans] = {}
    twice = shared(version, [*settled.values(), *fresh.values()])
    for name in sorted(fresh):
        own = reduce(or_, _own(settled, name).values(), fresh[name])
        beside = settled if own.overlapping(twice) else {}
        _refuse_conflicts(name, own, beside, services)
        found = _place(name, fresh[name], beside, services)
        taken |= found
        settled |= {place: settled.get(place, Spans(version)) | s for place, s in found.items()}
    return taken


def _place(name: str, new: Spans, around: Held, services: Mapping[str, Service]) -> Held:
    """Puts each span of `new` in the lowest plane where no other service's span overlaps it."""
    _refuse_conflicts(name, new, around, services)
    found: dict[Place, Spans] = {}
    for plane in count():
        if not new:
            return found
        blocked = Spans(new.version)
        for place, spans in around.items():
            if place.service != name and place[1:] == (new.version, plane):
                blocked |= new.overlapping(spans)
        if here := new.without(blocked):
            found[Place(name, new.version, plane)] = here
        new = blocked
    return found


def choose_mark(services: Iterable[Service], asked: int | None) -> int:
    """The mark asked for, or a free one. Raises Refused if another service has it."""
    used = {service.fwmark: service.name for service in services}
    if asked is None:
        return free_mark(used)
    if asked in used:
        raise Refused(
            f"fwmark {asked} ({asked:#x}) is service {used[asked]!r}'s",
            hint="leave --fwmark out, and a free one is chosen",
        )
    return asked


_NONE = Spans(4)


def _own(held: Held, name: str) -> dict[Place, Spans]:
    return {place: spans for place, spans in held.items() if place.service == name}


def _exchange(own: Held, wanted: Spans) -> tuple[Held, Spans]:
    """The spans of one service that go, and those that come, for it to hold exactly `wanted`."""
    gone = {place: spans.without(wanted) for place, spans in own.items()}
    return {place: s for place, s in gone.items() if s}, wanted.without(
        of_version(own, wanted.version)
    )


def _refuse_conflicts(
    name: str, spans: Spans, around: Held, services: Mapping[str, Service]
) -> None:
    """Raises Refused where another service has some of the addresses, and may not share them."""
    for place, others in sorted(around.items()):
        alike = place.service != name and place.version == spans.version
        if alike and (both := spans.overlapping(others) & others):
            left, right = (services[n] for n in sorted((name, place.service)))
            _refuse_conflict(left, right, span_text(spans.version, both[0]))


def _refuse_conflict(some: Service, other: Service, both: str) -> None:
    shared_by = f"{both} would be held by {some.name!r} and {other.name!r}"
    if not ports_disjoint(some, other):
        raise Refused(
            shared_by,
            hint="remove it from one of them, or let both name ports (--port) and share none",
        )
    if some.values("agree") != other.values("agree"):
        raise Refused(
            f"{shared_by}, which accept packets or treat what is left over differently",
            hint=f"give both the same {_agreed()}; to change both at once: vipctl apply",
        )


def _agreed() -> str:
    *some, last = (option.spelled(name) for name, option in EVERY_OPTION.items() if option.agree)
    return f"{', '.join(some)} and {last}"


def _sharing(service: Service) -> tuple[object, ...]:
    """The settings that decide with which services this one may share VIPs."""
    return service.ports, *service.values("agree")


def _holds_only(view: View, name: str, released: Held) -> bool:
    """Whether `released` is all that the service holds."""
    has = {shape: number for service, shape, number in view.tallies() if service == name}
    goes = {
        Shape(place.version, place.plane, length): number
        for place, spans in released.items()
        for length, number in spans.lengths().items()
    }
    return has == goes
