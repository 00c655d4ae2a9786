"""Finds where the kernel is not as stored, and what of that the director cannot have."""

from collections.abc import Collection, Iterable, Mapping

from vipctl import methods
from vipctl.addresses.prefixes import VERSIONS
from vipctl.errors import Missing, Refused, VipctlError
from vipctl.linux import ipvs, sysctl
from vipctl.linux.ipvs import daemons
from vipctl.linux.ipvs.messages import Key, Virtual
from vipctl.linux.sysctl import Kept, Refusals
from vipctl.reconcile.acceptance import Without, acceptances, prefixes
from vipctl.reconcile.epochs import Epochs, Watch
from vipctl.reconcile.lacking import Lacking, chosen
from vipctl.services import seal
from vipctl.services.change import NOTHING, Acceptance, Change
from vipctl.services.seal import Seal
from vipctl.state.store import Store

Present = Mapping[Key, Virtual]  # in the kernel


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
        self.unsynced = False
        self.vouched: Epochs = {}  # of methods whose prefixes are as stored
        self.untouched: Collection[str] = ()  # those of which prefixes alone are as stored
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
                *(["IPVS's sync daemons"] if self.unsynced and not self.lacking.sync else []),
            ]
        )

    def knows(self, change: Change) -> bool:
        """Whether the prefixes of the services that change are known to be as stored."""
        return {part for s in change.before for part in s.parts} <= self.vouched.keys()

    def note(self, refused: Refusals, planned: Kept) -> None:
        """Records the sysctls that cannot be set, and those that cannot be put back."""
        for name, error in refused.items():
            if name in planned:
                self.lacking.sysctls[name] = error
            else:
                self.warnings.append(f"{error.message}: it stays as it is")


def look(
    store: Store,
    change: Change | None = None,
    *,
    whole: Collection[str] = (),
    seen: Present | None = None,
) -> Found:
    """Compares the kernel with the store: every prefix of the methods in `whole`, few of others.

    Given a change, and no `whole`, real servers are compared only of the services that it changes.
    `seen` is what IPVS has of all services, where the caller has read that.
    """
    services = (*store.services().values(), *(change.after if change else ()))
    used = {part for service in services for part in service.parts}
    found = Found(Watch(used), Lacking(), whole, everything=store.intent() is not None)
    found.lacking.accepted |= without_ipv6(used)
    found.methods = _differing(store, found.lacking.accepted, whole)
    _look_for_lost(store, found)
    _look_at_ipvs(store, found, None if whole else change, seen)
    _look_at_daemons(store, found)
    found.sysctls = set(sysctl.unmet({name: new for name, (_, new) in store.sysctls().items()}))
    known, present = store.epochs(), found.watch.start
    same = {name for name, epoch in present.items() if known.get(name) == epoch}
    found.untouched = same & found.methods
    found.vouched = {
        name: epoch
        for name, epoch in present.items()
        if name not in found.methods and name in {*whole, *same}
    }
    return found


def without_ipv6(names: Iterable[str]) -> dict[tuple[str, int], VipctlError]:
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
            if is_there(store, name, NOTHING, ()):
                found.methods.remove(name)


def _differing(store: Store, without: Without, whole: Collection[str]) -> set[str]:
    """The methods whose objects in the kernel are not as stored."""
    wanted = acceptances(store, without)
    return {
        name
        for name in possible(store, wanted)
        if not is_there(store, name, wanted.get(name, NOTHING), whole)
    }


def is_there(store: Store, name: str, acceptance: Acceptance, whole: Collection[str]) -> bool:
    found = sealed(name, acceptance)
    if not found.fits or found.digest != store.seals().get(name, ""):
        return False
    if not (name in whole and acceptance.active()):
        return True
    since = store.epochs().get(name, "none")
    return methods.get(name).holds(acceptance, prefixes(store, name, acceptance), since)


def possible(store: Store, wanted: Iterable[str]) -> list[str]:
    """The methods of which there may be something in the kernel: for an empty state, all."""
    if not store.services():
        return list(methods.PARTS)
    return sorted({*wanted, *store.seals()})


def sealed(name: str, acceptance: Acceptance) -> Seal:
    """The method's seal; of one that the director cannot use, there is nothing in the kernel."""
    try:
        return methods.get(name).seal(acceptance)
    except Missing:
        return seal.OTHER if acceptance.active() else seal.ABSENT


def _look_at_ipvs(store: Store, found: Found, change: Change | None, seen: Present | None) -> None:
    with store.weighing() as verdicts:
        wanted = ipvs.desired(store.services().values(), verdicts)
        changed = wanted.keys() if change is None else ipvs.desired(change.before).keys()
        try:
            found.virtuals = _unlike(wanted, changed, seen)
        except Missing as e:
            found.lacking.balanced = dict.fromkeys(wanted, e)


def _unlike(wanted: dict[Key, Virtual], whole: Collection[Key], seen: Present | None) -> set[Key]:
    """What IPVS does not have as it should; real servers are compared only for `whole`."""
    rest = wanted.keys() - whole
    found = ipvs.read(key.mark for key in whole) if seen is None else seen
    present = {**found, **ipvs.services(rest)}
    expected = wanted | {key: ipvs.settings(wanted[key]) for key in rest}
    keys = expected.keys() | present.keys()
    return {key for key in keys if expected.get(key) != present.get(key)}


def foresee(store: Store, found: Found) -> None:
    """Adds to `found` what `heal` would find that the director cannot have; changes nothing."""
    services = store.services().values()
    wanted = ipvs.desired(services, store.verdicts())
    absent = {key: wanted[key] for key in found.virtuals & wanted.keys()}
    found.lacking.balanced |= ipvs.foreseen(absent)
    planned = sysctl.plan(store.sysctls(), services, chosen(store))
    found.note(sysctl.foreseen(store.sysctls(), planned), planned)


def _look_at_daemons(store: Store, found: Found) -> None:
    if (wanted := store.sync()) is None:
        return
    try:
        found.unsynced = not daemons.complete(wanted, daemons.running())
    except Missing as e:
        found.lacking.sync = e
