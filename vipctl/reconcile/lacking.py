"""What of the stored state the director cannot have, and why. The rest serves without it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vipctl.addresses.few import BITS
from vipctl.addresses.prefixes import VERSIONS
from vipctl.errors import Missing, VipctlError
from vipctl.linux import ipvs, sysctl
from vipctl.linux.ipvs.messages import Key
from vipctl.linux.sysctl import Kept
from vipctl.services import director, sync
from vipctl.services.change import Change
from vipctl.services.methods import SOURCE_NAT
from vipctl.services.service import Service
from vipctl.services.sync import Sync
from vipctl.state.store import Store

Sides = set[tuple[str, int]]  # services, and IP versions of which they have ranges
NO_CHANGE = Change()


class Problem(NamedTuple):
    """One thing that the director cannot have; `services` need it, none if it is the director's."""

    words: str
    cause: VipctlError
    cure: str = ""
    services: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.words}, as {self.cause.message}"

    @property
    def hint(self) -> str:
        return "; ".join(filter(None, (self.cause.hint, "then vipctl restore", self.cure)))


class Lacking:
    """What the director cannot have, with the error that says why."""

    def __init__(self) -> None:
        self.accepted: dict[tuple[str, int], VipctlError] = {}  # by method and IP version
        self.balanced: dict[Key, VipctlError] = {}
        self.sysctls: dict[str, VipctlError] = {}
        self.sync: VipctlError | None = None
        self.stuck: set[str] = set()  # methods that could not be loaded: their objects are unknown

    def problems(self, store: Store, change: Change = NO_CHANGE) -> Iterator[Problem]:
        """What is lacking, told by the services that it concerns, once `change` is made."""
        if self.sync and synchronised(store, change):
            yield Problem("connections are not synchronised with other directors", self.sync)
        yield from self.unserved(store, change)
        if not self.sysctls:
            return
        known, wanted_of_director = after(store, change), chosen(store, change)
        for name, error in self.sysctls.items():
            if name in wanted_of_director:
                yield Problem(f"{name} is not {wanted_of_director[name]}, as it is set", error)
            elif users := [s.name for s in known if name in sysctl.needed([s])]:
                words = f"{name} is not as {', '.join(users)} needs it"
                yield Problem(words, error, services=tuple(users))

    def unserved(self, store: Store, change: Change = NO_CHANGE) -> Iterator[Problem]:
        """Those with which VIPs are not accepted, or not balanced."""
        if not (self.accepted or self.balanced):
            return
        known, sides = after(store, change), _sides(store, change)
        for method in dict.fromkeys(method for method, _ in self.accepted):
            yield from self._of_method(method, [s.name for s in known if method in s.parts], sides)
        names, wanted = {service.fwmark: service.name for service in known}, ipvs.desired(known)
        for key, error in self.balanced.items():
            if key in wanted:
                name = names[key.mark]
                words = f"{name} is not balanced (IPv{key.version})"
                yield Problem(words, error, services=(name,))

    def reasons(self, method: str) -> dict[int, VipctlError]:
        """Why a method cannot accept, by IP version."""
        return {v: self.accepted[method, v] for v in VERSIONS if (method, v) in self.accepted}

    def _of_method(self, method: str, names: list[str], sides: Sides) -> Iterator[Problem]:
        """One problem if all IP versions have the same reason, else one for each."""
        reasons = self.reasons(method)
        at_once = [tuple(reasons)] if len(set(reasons.values())) == 1 else [(v,) for v in reasons]
        for versions in at_once:
            concerned = [n for n in names if any((n, v) in sides for v in versions)]
            if concerned:
                yield unaccepted(method, concerned, reasons[versions[0]], versions)


def after(store: Store, change: Change) -> list[Service]:
    """All services, as they are after the change."""
    gone = {service.name for service in change.before}
    stay = [service for name, service in store.services().items() if name not in gone]
    return [*stay, *change.after]


def planned_sysctls(store: Store, change: Change) -> Kept:
    """The sysctls that vipctl is to have set after the change."""
    return sysctl.plan(store.sysctls(), after(store, change), chosen(store, change))


def chosen(store: Store, change: Change = NO_CHANGE) -> dict[str, str]:
    """The director's settings after the change, by the kernel's names and values."""
    old, new = change.director
    values = director.kernel_values(new if new != old else store.director())
    return {**sync.sysctls(synchronised(store, change)), **values}


def synchronised(store: Store, change: Change = NO_CHANGE) -> Sync | None:
    """How connections are synchronised after the change."""
    old, new = change.sync
    return new if new != old else store.sync()


def unaccepted(
    method: str, names: Sequence[str], cause: VipctlError, versions: Sequence[int]
) -> Problem:
    if method == SOURCE_NAT:
        words = f"clients' addresses are not translated for {', '.join(names)}"
        return Problem(words, cause, services=tuple(names))
    who = f"VIPs of {', '.join(names)} are not accepted"
    if len(versions) == 1:
        return Problem(f"IPv{versions[0]} {who}", cause, services=tuple(names))
    cure = f"or have another method: vipctl set-service {names[0]} --method auto"
    return Problem(who, cause, cure, tuple(names))


def _sides(store: Store, change: Change) -> Sides:
    sizes: Counter[tuple[str, int]] = Counter()
    for name, shape, count in store.tallies():
        sizes[name, shape.version] += count << BITS[shape.version] - shape.length
    for held, sign in ((change.released, -1), (change.taken, 1)):
        for place, spans in held.items():
            sizes[place.service, place.version] += sign * spans.size()
    return {side for side, size in sizes.items() if size}


def raised(problems: Sequence[Problem]) -> Missing:
    """The error for a command that needs all of it."""
    return Missing("; ".join(map(str, problems)), hint=problems[0].hint)
