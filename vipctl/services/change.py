"""Which service holds which addresses, what a kernel has to accept, and changes of both. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from vipctl.addresses.prefixes import VERSIONS, AddressSet
from vipctl.addresses.spans import Spans
from vipctl.services.director import UNSET, Director
from vipctl.services.role import ACTIVE, Role
from vipctl.services.service import Service
from vipctl.services.sync import Sync


class Place(NamedTuple):
    """Where a service holds spans of addresses.

    Two services with disjoint ports may share addresses: their spans are then in different planes.
    Spans of one plane never overlap, so a plane is one lookup. Everything else is in plane 0.
    """

    service: str
    version: int
    plane: int


Held = Mapping[Place, Spans]
NOBODY: Held = {}


SMALLEST_ROOM = 1024


class Shape(NamedTuple):
    """One kernel lookup: all prefixes of one IP version, plane and length.

    Some kinds of lookup are faster in a table of fixed size: `room` is for how many prefixes.
    """

    version: int
    plane: int
    length: int
    room: int = 0

    def sized(self, count: int) -> "Shape":
        """With room for `count` prefixes, in steps of 4, so that growing sets seldom need more."""
        room = SMALLEST_ROOM
        while room < count:
            room *= 4
        return self._replace(room=room)

    def bare(self) -> "Shape":
        return self._replace(room=0)


class Entry(NamedTuple):
    """One prefix in the kernel and the mark that its packets get."""

    shape: Shape
    start: int
    mark: int


class Acceptance(NamedTuple):
    """All that a method has to know beside the prefixes themselves.

    `witnesses` are a few prefixes, to look for where looking at all would be slow. `owner` is the
    token of the state directory, which methods leave in the kernel. `passive` are the marks of
    services that are passive by themselves, whatever `all_passive`, the director's role, is.
    """

    services: tuple[Service, ...]
    shapes: frozenset[Shape]
    witnesses: tuple[Entry, ...] = ()
    owner: str = ""
    passive: frozenset[int] = frozenset()
    all_passive: bool = False

    def active(self) -> bool:
        return bool(self.services and self.shapes)

    def has(self, version: int) -> bool:
        return any(shape.version == version for shape in self.shapes)

    def one_by_one(self) -> "Acceptance":
        """The same, but if the director is passive, each service is by itself."""
        if not self.all_passive:
            return self
        marks = frozenset(service.fwmark for service in self.services)
        return self._replace(passive=marks, all_passive=False)

    def passive_services(self) -> list[Service]:
        """Those that are passive by themselves."""
        return [s for s in self.services if s.fwmark in self.passive]

    def answering_pings(self) -> list[Service]:
        passive = self.one_by_one().passive
        return [s for s in self.services if s.ping and s.fwmark not in passive]


NOTHING = Acceptance((), frozenset())


class Change(NamedTuple):
    """The difference between two states.

    Services in `before` and not in `after` end. `released` and `taken` are spans that services lose
    and gain. What is named in no field stays.
    """

    before: tuple[Service, ...] = ()
    after: tuple[Service, ...] = ()
    released: Held = NOBODY
    taken: Held = NOBODY
    director: tuple[Director, Director] = UNSET, UNSET  # before and after
    sync: tuple[Sync | None, Sync | None] = None, None  # before and after
    role: tuple[Role, Role] = ACTIVE, ACTIVE

    def __bool__(self) -> bool:
        return (
            self.before != self.after
            or self.released != self.taken
            or self.director[0] != self.director[1]
            or self.sync[0] != self.sync[1]
            or self.role[0] != self.role[1]
        )

    def inverse(self) -> "Change":
        director, sync, role = self.director[::-1], self.sync[::-1], self.role[::-1]
        return Change(self.after, self.before, self.taken, self.released, director, sync, role)

    def role_after(self, role: Role) -> Role:
        """What becomes of the stored role."""
        return self.role[1] if self.role[0] != self.role[1] else role

    def following(self, role: Role) -> "Change":
        """With what it makes of a role: one of a service goes with it, and follows its name."""
        ended = {s.name for s in self.before} - {s.name for s in self.after}
        if self.role[0] != self.role[1] or not ended & role.services:
            return self
        stay, names = role.services - ended, self.renamed()
        renamed = {new for old, new in names.items() if old in role.services}
        return self._replace(role=(role, role._replace(services=stay | renamed)))

    def renamed(self) -> dict[str, str]:
        """The renamed services, which have the same mark before and after: old name → new name."""
        there = {service.name for service in self.after}
        gone = {s.fwmark: s.name for s in self.before if s.name not in there}
        known = {service.name for service in self.before}
        new = {s.fwmark: s.name for s in self.after if s.name not in known}
        return {gone[mark]: new[mark] for mark in gone.keys() & new.keys()}

    def under_new_names(self) -> "Change":
        """The same change as if renamed services had had their new names before."""
        names = self.renamed()
        return self._replace(
            before=tuple(s._replace(name=names.get(s.name, s.name)) for s in self.before),
            released={
                place._replace(service=names.get(place.service, place.service)): spans
                for place, spans in self.released.items()
            },
        )

    def gained(self) -> AddressSet:
        """Addresses that none of these services held before, and one holds after."""
        return _difference(self.taken, self.released)

    def lost(self) -> AddressSet:
        return _difference(self.released, self.taken)


def _difference(left: Held, right: Held) -> AddressSet:
    return AddressSet(*(of_version(left, v) - of_version(right, v) for v in VERSIONS))


def of_version(held: Held, version: int) -> Spans:
    """All addresses of an IP version, whoever has them."""
    found = [spans for place, spans in held.items() if place.version == version]
    return found[0] if len(found) == 1 else Spans.of(version, b"".join(s.data for s in found))


def all_of(held: Held) -> AddressSet:
    """All addresses of both IP versions, whoever has them."""
    return AddressSet(*(of_version(held, version) for version in VERSIONS))
