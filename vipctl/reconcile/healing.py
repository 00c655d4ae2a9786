"""Finds where the kernel is not as stored, and restores it as far as the director can have it.

What it cannot have, be it an IP version of a method, a service in IPVS or a sysctl, does not stop
the rest: that is restored. It is recorded in `Lacking`, and the next command tries it again.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress

from vipctl import methods
from vipctl.addresses.prefixes import VERSIONS
from vipctl.errors import KernelError, Missing, Refused, VipctlError
from vipctl.linux import ipvs, sysctl
from vipctl.linux.ipvs.messages import Key, Virtual
from vipctl.linux.sysctl import Kept, Refusals
from vipctl.reconcile.acceptance import Without, acceptances, prefixes
from vipctl.reconcile.epochs import Epochs, Watch
from vipctl.reconcile.lacking import Lacking, chosen
from vipctl.services import seal
from vipctl.services.change import NOTHING, Acceptance, Change
from vipctl.services.seal import Seal
from vipctl.state.database import Unwritten
from vipctl.state.store import Store

Notify = Callable[[str], None]
NOTICEABLE = 10_000  # ranges whose loading an operator notices
LOADED = "loaded"  # stands for an epoch while a command runs that has set the prefixes
UNKNOWN = "unknown"  # the seal of a method that could not be brought into any known state


class Found:
    """What in the kernel is not as stored, and what the director cannot have.

    `watch` began before anything was read. Of methods in `whole`, every prefix was compared. With
    `everything`, all is restored, differing or not.
    """

    def __init__(
        self,
        watch: Watch,
        lacking: Lacking,
        whole: Collection[str] = (),
        *,
        everything: bool = False,
    ) -> None:
        self.watch, self.lacking = watch, lacking
        self.whole, self.everything = whole, everything
        self.methods: set[str] = set()
        self.virtuals: set[Key] = set()
        self.sysctls: set[str] = set()
        self.vouched: Epochs = {}  # of methods whose prefixes are as stored
        self.warnings: list[str] = []  # what else an operator should know

    def differs(self) -> bool:
        """Whether the kernel differs from the store in anything that the director can have."""
        return bool(self.differing())

    def differing(self) -> frozenset[str]:
        """What the director could have as stored and does not have, in words."""
        virtuals = self.virtuals - self.lacking.balanced.keys()
        return frozenset(
            [
                *(["what an unfinished change has left"] if self.everything else []),
                *(f"method {name}" for name in self.methods - self.lacking.stuck),
                *(f"IPVS service of fwmark {mark}, IPv{version}" for mark, version in virtuals),
                *self.sysctls - self.lacking.sysctls.keys(),
            ]
        )

    def note(self, refused: Refusals, planned: Kept) -> None:
        """Records the sysctls that cannot be set, and those that cannot be put back."""
        for name, error in refused.items():
            if name in planned:
                self.lacking.sysctls[name] = error
            else:
                self.warnings.append(f"{error.message}: it stays as it is")


def look(store: Store, change: Change | None = None, *, whole: Collection[str] = ()) -> Found:
    """Compares the kernel with the store: every prefix of the methods in `whole`, few of others.

    Given a change, and no `whole`, real servers are compared only of the services that it changes.
    """
    services = (*store.services().values(), *(change.after if change else ()))
    used = {part for service in services for part in service.parts}
    found = Found(Watch(used), Lacking(), whole, everything=store.intent() is not None)
    found.lacking.accepted |= _without_ipv6(used)
    found.methods = _differing(store, found.lacking.accepted, whole)
    _look_for_lost(store, found)
    _look_at_ipvs(store, found, None if whole else change)
    found.sysctls = set(sysctl.unmet({name: new for name, (_, new) in store.sysctls().items()}))
    known = store.epochs()
    found.vouched = {
        name: epoch
        for name, epoch in found.watch.start.items()
        if name not in found.methods and (name in whole or known.get(name) == epoch)
    }
    return found


def _without_ipv6(names: Iterable[str]) -> dict[tuple[str, int], VipctlError]:
    problem = sysctl.without_ipv6_routes()
    return {(name, 6): problem for name in names if problem and methods.get(name).ROUTED}


def refuse_taken_over(store: Store) -> None:
    """Raises Refused if the kernel holds VIPs of another state directory."""
    for name in methods.PARTS:
        if (owner := _owner(name)) and owner != store.token():
            raise Refused(
                f"what vipctl has in this kernel (method {name}) is another state directory's",
                hint="name that one with --state-dir; or replace it by this one: vipctl restore",
            )


def _owner(name: str) -> str:
    try:
        return methods.get(name).owner()
    except Missing:
        return ""


def _look_for_lost(store: Store, found: Found) -> None:
    """Records methods that the director cannot use any more; restores none that left nothing."""
    for name in list(found.methods):
        if problem := methods.unusable(name):
            found.lacking.accepted |= {(name, version): problem for version in VERSIONS}
            if _is_there(store, name, NOTHING, ()):
                found.methods.remove(name)


def _differing(store: Store, without: Without, whole: Collection[str]) -> set[str]:
    """The methods whose objects in the kernel are not as stored."""
    wanted = acceptances(store, without)
    return {
        name
        for name in _methods(store, wanted)
        if not _is_there(store, name, wanted.get(name, NOTHING), whole)
    }


def _is_there(store: Store, name: str, acceptance: Acceptance, whole: Collection[str]) -> bool:
    found = _seal(name, acceptance)
    if not found.fits or found.digest != store.seals().get(name, ""):
        return False
    if not (name in whole and acceptance.active()):
        return True
    since = store.epochs().get(name, "none")
    return methods.get(name).holds(acceptance, prefixes(store, name, acceptance), since)


def _methods(store: Store, wanted: Iterable[str]) -> list[str]:
    """The methods of which there may be something in the kernel: for an empty state, all."""
    if not store.services():
        return list(methods.PARTS)
    return sorted({*wanted, *store.seals()})


def _seal(name: str, acceptance: Acceptance) -> Seal:
    """The method's seal; of one that the director cannot use, there is nothing in the kernel."""
    try:
        return methods.get(name).seal(acceptance)
    except Missing:
        return seal.OTHER if acceptance.active() else seal.ABSENT


def _look_at_ipvs(store: Store, found: Found, change: Change | None) -> None:
    wanted = ipvs.desired(store.services().values())
    changed = wanted.keys() if change is None else ipvs.desired(change.before).keys()
    try:
        found.virtuals = _unlike(wanted, changed)
    except Missing as e:
        found.lacking.balanced = dict.fromkeys(wanted, e)


def _unlike(wanted: dict[Key, Virtual], whole: Collection[Key]) -> set[Key]:
    """What IPVS does not have as it should; real servers are compared only for `whole`."""
    rest = wanted.keys() - whole
    present = ipvs.read(key.mark for key in whole) | ipvs.services(rest)
    expected = wanted | {key: ipvs.settings(wanted[key]) for key in rest}
    keys = expected.keys() | present.keys()
    return {key for key in keys if expected.get(key) != present.get(key)}


def present(marks: Iterable[int]) -> dict[Key, Virtual]:
    """What IPVS has for these marks; nothing where there is no IPVS."""
    try:
        return ipvs.read(marks)
    except Missing:
        return {}


def balance(wanted: dict[Key, Virtual], there: dict[Key, Virtual]) -> dict[Key, VipctlError]:
    """Does `ipvs.add`, and returns what is refused, by key: all of it if there is no IPVS."""
    try:
        return ipvs.add(wanted, there)
    except Missing as e:
        return dict.fromkeys(wanted, e)


def foresee(store: Store, found: Found) -> None:
    """Adds to `found` what `heal` would find that the director cannot have; changes nothing."""
    services = store.services().values()
    wanted = ipvs.desired(services)
    absent = {key: wanted[key] for key in found.virtuals & wanted.keys()}
    found.lacking.balanced |= ipvs.foreseen(absent)
    planned = sysctl.plan(store.sysctls(), services, chosen(store))
    found.note(sysctl.foreseen(store.sysctls(), planned), planned)


def heal(store: Store, found: Found, notify: Notify, *, adopt: bool = False) -> bool:
    """Brings what differs to the stored state; returns whether anything was restored.

    With `adopt`, the present values of sysctls are taken for those from before vipctl.
    """
    if found.everything or found.methods or found.virtuals or found.sysctls:
        kept = sysctl.of_routers(store.sysctls()) if adopt else store.sysctls()
        planned = sysctl.plan(kept, store.services().values(), chosen(store))
        make_as_stored(store, found, notify, kept, planned)
        return found.differs()
    if found.vouched.items() - store.epochs().items():
        store.note(store.epochs() | found.vouched)
    return False


def make_as_stored(store: Store, found: Found, notify: Notify, kept: Kept, planned: Kept) -> None:
    """Brings what differs to the stored state.

    `kept` are the sysctls that vipctl has set, `planned` those that it is to have set.
    """
    virtuals = ipvs.desired(store.services().values())
    there = present({key.mark for key in virtuals} | (store.intent() or frozenset()))
    store.begin(Change(), {key.mark for key in virtuals}, kept | planned)
    found.lacking.balanced = balance(virtuals, there)
    found.note(sysctl.enforce(kept, planned), planned)
    _restore_methods(store, found, notify)
    ipvs.remove(virtuals, there)
    undisturbed = found.watch.undisturbed()
    vouched = {name: undisturbed[name] for name in undisturbed.keys() & found.vouched.keys()}
    try:
        finish(store, planned, found.lacking, vouched)
    except Unwritten as e:
        e.add_note("the kernel is as the state says, but that could not be recorded")
        raise


def _restore_methods(store: Store, found: Found, notify: Notify) -> None:
    """Loads the methods that differ, and if there are any, those that should have nothing too."""
    names = set(methods.PARTS) if found.everything else set(found.methods)
    if names:
        names |= set(methods.PARTS).difference(_methods(store, acceptances(store)))
        announce(notify, sum(count for _, _, count in store.tallies()))
    for name in sorted(names, key=methods.PARTS.index):
        _restore(store, found, name)


def announce(notify: Notify, spans: int) -> None:
    if spans >= NOTICEABLE:
        notify(f"loading {spans:,} ranges into the kernel")


def _restore(store: Store, found: Found, name: str) -> None:
    """Loads all that a method is to accept or, if the kernel refuses, one IP version of it."""
    if name in found.lacking.stuck:
        return None
    accepted = found.lacking.accepted
    whole = acceptances(store, accepted).get(name, NOTHING)
    if not whole.active() and _seal(name, NOTHING) == seal.ABSENT:
        return None
    parts = dict(_parts(store, found, name, whole))
    there = {v for v, part in parts.items() if _is_there(store, name, part, found.whole)}
    try:
        return _load(store, found, name, whole)
    except (KernelError, Missing) as e:
        cause = e
    for version, part in parts.items():
        with suppress(KernelError, Missing):
            _load(store, found, name, part)
            accepted[name, version] = cause
            found.methods -= {name} if version in there else set()
            return None
    accepted |= {(name, version): cause for version in VERSIONS}
    found.lacking.stuck.add(name)
    if not whole.active():
        found.warnings.append(f"method {name} leaves something behind, as {cause.message}")
    return None


def _parts(
    store: Store, found: Found, name: str, whole: Acceptance
) -> Iterator[tuple[int, Acceptance]]:
    """The acceptance without IPv6 and that without IPv4, by the version that is left out."""
    for version in reversed(VERSIONS):
        part = acceptances(store, {*found.lacking.accepted, (name, version)}).get(name, NOTHING)
        if part.active() and part != whole:
            yield version, part


def _load(store: Store, found: Found, name: str, acceptance: Acceptance) -> None:
    wanted = prefixes(store, name, acceptance)
    found.watch.took(name, methods.get(name).load(acceptance, wanted))
    found.vouched[name] = LOADED


def finish(store: Store, sysctls: Kept, lacking: Lacking, epochs: Epochs) -> None:
    """Verifies, and commits that kernel and store agree. Raises KernelError."""
    wanted = acceptances(store, lacking.accepted)
    seals = dict.fromkeys(lacking.stuck, UNKNOWN)
    for name in set(_methods(store, wanted)) - lacking.stuck:
        found = _seal(name, wanted.get(name, NOTHING))
        if not found.fits:
            raise KernelError(
                "what was just set is not in the kernel any more",
                hint="something else (nftables.service, systemd-networkd?) is changing it; "
                "try again",
            )
        seals[name] = found.digest
    kept = {name: digest for name, digest in seals.items() if digest}
    store.finish(kept, sysctls, {name: epochs[name] for name in kept.keys() & epochs.keys()})
