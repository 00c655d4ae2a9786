"""From what is asked and what is stored to the Change between them. Pure: reads no kernel."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from vipctl.errors import Refused
from vipctl.model import (
    Change,
    Held,
    RealServer,
    Service,
    free_mark,
    ports_disjoint,
    real_key,
)
from vipctl.prefixes import (
    VERSIONS,
    AddressSet,
    IPAddress,
    Span,
    difference,
    span_text,
    union,
)


class View(Protocol):
    """What planning reads of the store."""

    def services(self) -> Mapping[str, Service]: ...

    def held(self, service: str | None = None) -> Iterator[Held]: ...

    def touching(self, version: int, first: int, last: int) -> list[Held]: ...


def take(view: View, before: Service | None, after: Service, wanted: AddressSet) -> Change:
    """`after` holds `wanted` in addition to what `before` held."""
    services = {**view.services(), after.name: after}
    released: list[Held] = []
    taken: list[Held] = []
    for version in VERSIONS:
        spans = wanted.spans(version)
        own = _own(view, after.name, version, spans)
        joined = union((h.span for h in own), spans)
        gone, new = _exchange(own, after.name, version, joined)
        released += gone
        taken += new
    return Change(
        before=() if before is None else (before,),
        after=(after,),
        released=tuple(released),
        taken=tuple(place(taken, _neighbours(view, after.name, taken), services)),
    )


def release(view: View, service: Service, unwanted: AddressSet, *, end_if_empty: bool) -> Change:
    """`service` holds nothing of `unwanted`; without a rest it ends, if it is to."""
    released: list[Held] = []
    rest: list[Held] = []
    for version in VERSIONS:
        spans = unwanted.spans(version)
        own = _own(view, service.name, version, spans)
        gone, new = _exchange(own, service.name, version, difference((h.span for h in own), spans))
        released += gone
        rest += new
    taken = place(rest, _neighbours(view, service.name, rest), view.services())
    ends = end_if_empty and not taken and _holds_only(view, service.name, released)
    return Change(
        before=(service,),
        after=() if ends else (service,),
        released=tuple(released),
        taken=tuple(taken),
    )


def sole_holders(view: View, unwanted: AddressSet) -> list[str]:
    """Services that hold some of `unwanted`. Raises Refused where two share an address of it."""
    found = {
        held._replace(first=max(held.first, span[0]), last=min(held.last, span[1]))
        for version in VERSIONS
        for span in unwanted.spans(version)
        for held in view.touching(version, *span)
        if held.first <= span[1] and span[0] <= held.last
    }
    for left, right in _overlapping(sorted(found, key=_position)):
        raise Refused(
            f"services {left.service!r} and {right.service!r} share addresses of that range",
            hint="say from which one to remove it: --service NAME",
        )
    return sorted({held.service for held in found})


def merged(changes: Iterable[Change]) -> Change:
    """Changes of different services as one; those that change nothing leave no trace."""
    some = [change for change in changes if change]
    return Change(
        tuple(s for c in some for s in c.before),
        tuple(s for c in some for s in c.after),
        tuple(h for c in some for h in c.released),
        tuple(h for c in some for h in c.taken),
    )


def end(view: View, service: Service) -> Change:
    """The service and all that it holds go."""
    return Change(before=(service,), released=tuple(view.held(service.name)))


def alter(view: View, before: Service | None, after: Service) -> Change:
    """Other settings, same addresses. Raises Refused where new ports meet another service's."""
    if before is None:
        return Change(after=(after,))
    if _sharing(before) != _sharing(after):
        own = list(view.held(before.name))
        place(own, _neighbours(view, before.name, own), {**view.services(), after.name: after})
    return Change(before=(before,), after=(after,))


def become(view: View, wanted: Mapping[str, tuple[Service, AddressSet]]) -> Change:
    """The whole state is `wanted`, service by service, and nothing else."""
    services = view.services()
    present: dict[str, list[Held]] = {}
    for held in view.held():
        present.setdefault(held.service, []).append(held)
    kept: list[Held] = []
    released: list[Held] = []
    taken: list[Held] = []
    for name in sorted(services.keys() | wanted.keys()):
        addresses = wanted[name][1] if name in wanted else AddressSet()
        for version in VERSIONS:
            own = [h for h in present.get(name, ()) if h.version == version]
            gone, new = _exchange(own, name, version, addresses.spans(version))
            released += gone
            taken += new
            kept += sorted(set(own) - set(gone))
    after = {name: service for name, (service, _) in wanted.items()}
    # Services that keep their spans may no longer be allowed to share them.
    place(kept, (), after)
    moved = {held.service for held in (*released, *taken)}
    same = {name for name in services if after.get(name) == services[name] and name not in moved}
    return Change(
        before=tuple(s for n, s in services.items() if n not in same),
        after=tuple(s for n, s in after.items() if n not in same),
        released=tuple(released),
        taken=tuple(place(taken, kept, after)),
    )


def place(new: Iterable[Held], kept: Iterable[Held], services: Mapping[str, Service]) -> list[Held]:
    """`new`, each in the lowest plane that no overlapping span has. Raises Refused."""
    spans = sorted(new, key=_position)
    fixed = set(kept)
    overlaps: dict[Held, list[Held]] = {}
    for left, right in _overlapping(sorted([*spans, *fixed], key=_position)):
        _refuse_conflict(left, right, services)
        overlaps.setdefault(left, []).append(right)
        overlaps.setdefault(right, []).append(left)
    placed: dict[Held, Held] = {held: held for held in fixed}
    for held in spans:
        used = {placed[o].plane for o in overlaps.get(held, ()) if o in placed}
        plane = next(p for p in range(len(used) + 1) if p not in used)
        placed[held] = held._replace(plane=plane)
    return [placed[held] for held in spans]


def merge_reals(service: Service, reals: Iterable[RealServer]) -> Service:
    """Raises Refused for a server that is there with another weight."""
    merged = {real_key(r): r for r in service.reals}
    for real in reals:
        old = merged.setdefault(real_key(real), real)
        if old != real:
            raise Refused(
                f"service {service.name!r} has real server {old} already",
                hint=f"vipctl set-real {service.name} {real.endpoint},weight={real.weight}",
            )
    return service.with_reals(merged.values())


def find_real(service: Service, address: IPAddress, port: int | None) -> RealServer:
    """The real server at that address (and port, if one is given). Raises Refused."""
    found = _reals_at(service, address, port)
    if len(found) == 1:
        return found[0]
    known = " ".join(real.endpoint for real in service.reals)
    if not found:
        raise Refused(
            f"service {service.name!r} has no real server {address}",
            hint=f"it has: {known or 'none'}",
        )
    raise Refused(f"{address} is more than one real server", hint=f"name the port: {known}")


def has_real(service: Service, address: IPAddress, port: int | None) -> bool:
    return bool(_reals_at(service, address, port))


def _reals_at(service: Service, address: IPAddress, port: int | None) -> list[RealServer]:
    return [r for r in service.reals if r.address == address and port in (None, r.port)]


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


def _own(view: View, name: str, version: int, spans: Iterable[Span]) -> list[Held]:
    """What `name` holds that overlaps or touches one of the spans."""
    found = {h for span in spans for h in view.touching(version, *span) if h.service == name}
    return sorted(found, key=_position)


def _exchange(
    own: Iterable[Held], name: str, version: int, spans: Iterable[Span]
) -> tuple[list[Held], list[Held]]:
    """What of `own` goes and what comes for `name` to hold exactly `spans`."""
    old = {h.span: h for h in own}
    new = set(spans)
    gone = [held for span, held in old.items() if span not in new]
    return gone, [Held(name, version, 0, *span) for span in sorted(new - old.keys())]


def _neighbours(view: View, name: str, spans: Iterable[Held]) -> set[Held]:
    """What other services hold of these spans."""
    return {
        other
        for held in spans
        for other in view.touching(held.version, held.first, held.last)
        if other.service != name and other.first <= held.last and held.first <= other.last
    }


def _overlapping(spans: Iterable[Held]) -> Iterator[tuple[Held, Held]]:
    """Pairs that share an address, of spans in order of version and first address."""
    active: list[Held] = []
    for held in spans:
        active = [a for a in active if a.version == held.version and a.last >= held.first]
        for other in active:
            yield other, held
        active.append(held)


def _refuse_conflict(left: Held, right: Held, services: Mapping[str, Service]) -> None:
    some, other = services[left.service], services[right.service]
    span = max(left.first, right.first), min(left.last, right.last)
    shared = f"{span_text(left.version, span)} would be held by {some.name!r} and {other.name!r}"
    if not ports_disjoint(some, other):
        raise Refused(
            shared,
            hint="remove it from one of them, or let both name ports (--port) and share none",
        )
    if _treatment(some) != _treatment(other):
        raise Refused(
            f"{shared}, which accept packets or treat what is left over differently",
            hint="give both the same --method, --arp, --ping and --leftover; to change both at "
            "once: vipctl apply",
        )


def _sharing(service: Service) -> tuple[object, ...]:
    """What decides with whom a service may share VIPs."""
    return service.ports, *_treatment(service)


def _treatment(service: Service) -> tuple[object, ...]:
    """What happens to packets whose service cannot be told."""
    return service.method, service.arp, service.ping, service.leftover


def _holds_only(view: View, name: str, released: list[Held]) -> bool:
    rest = iter(view.held(name))
    gone = set(released)
    return all(held in gone for held in rest)


def _position(held: Held) -> tuple[int, int, int, str]:
    return held.version, held.first, held.last, held.service
