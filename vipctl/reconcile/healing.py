"""Restores what is not as stored, as far as the director can have it.

What it cannot have, be it an IP version of a method, a service in IPVS or a sysctl, does not stop
the rest: that is restored. It is recorded in `Lacking`, and the next command tries it again.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from vipctl import methods
from vipctl.addresses.prefixes import VERSIONS
from vipctl.errors import KernelError, Missing, VipctlError
from vipctl.linux import ipvs, sysctl
from vipctl.linux.ipvs import daemons
from vipctl.linux.ipvs.messages import Key, Virtual
from vipctl.linux.sysctl import Kept
from vipctl.reconcile.acceptance import acceptances, prefixes
from vipctl.reconcile.epochs import Epochs
from vipctl.reconcile.lacking import Lacking, chosen
from vipctl.reconcile.looking import Found, is_there, possible, sealed
from vipctl.services import batch, seal
from vipctl.services.batch import Batch
from vipctl.services.change import NOTHING, Acceptance, Change
from vipctl.state import runtime
from vipctl.state.database import Unwritten
from vipctl.state.store import Store

Notify = Callable[[str], None]
NOTICEABLE = 10_000  # ranges whose loading an operator notices
LOADED = "loaded"  # stands for an epoch while a command runs that has set the prefixes
UNKNOWN = "unknown"  # the seal of a method that could not be brought into any known state


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


def heal(store: Store, found: Found, notify: Notify, *, adopt: bool = False) -> bool:
    """Brings what differs to the stored state; returns whether anything was restored.

    With `adopt`, the present values of sysctls are taken for those from before vipctl.
    """
    if found.everything or found.methods or found.virtuals or found.sysctls or found.unsynced:
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
    marks = {key.mark for key in ipvs.desired(store.services().values())}
    touched = marks | (store.intent() or frozenset())
    store.begin(Change(), marks, kept | planned)
    with store.weighing() as verdicts:
        virtuals = ipvs.desired(store.services().values(), verdicts)
        there = present(touched)
        found.lacking.balanced = balance(virtuals, there)
    found.note(sysctl.enforce(kept, planned), planned)
    _restore_daemons(store, found)
    _restore_methods(store, found, notify)
    ipvs.remove(virtuals, there)
    undisturbed = found.watch.undisturbed()
    vouched = {name: undisturbed[name] for name in undisturbed.keys() & found.vouched.keys()}
    try:
        finish(store, planned, found.lacking, vouched)
    except Unwritten as e:
        e.add_note("the kernel is as the state says, but that could not be recorded")
        raise


def _restore_daemons(store: Store, found: Found) -> None:
    wanted, former = store.sync(), store.former_syncs()
    if not (wanted or former):
        return
    try:
        daemons.bring(wanted, former)
        found.lacking.sync = None
    except (KernelError, Missing) as e:
        found.lacking.sync = e


def _restore_methods(store: Store, found: Found, notify: Notify) -> None:
    """Loads the methods that differ, and if there are any, those that should have nothing too."""
    names = set(methods.PARTS) if found.everything else set(found.methods)
    if names:
        names |= set(methods.PARTS).difference(possible(store, acceptances(store)))
        announce(notify, sum(count for _, _, count in store.tallies()))
    for name in sorted(names, key=methods.PARTS.index):
        _restore(store, found, name)


def announce(notify: Notify, spans: int) -> None:
    if spans >= NOTICEABLE:
        notify(f"loading {spans:,} ranges into the kernel")


def forewarn(*changed: Batch) -> None:
    """Tells the daemon not to listen to what is done next: the kernel would tell of each prefix."""
    if sum(map(batch.count, changed)) >= NOTICEABLE:
        runtime.tell(runtime.LOADING)


def _restore(store: Store, found: Found, name: str) -> None:
    """Loads all that a method is to accept or, if the kernel refuses, one IP version of it."""
    if name in found.lacking.stuck:
        return None
    accepted = found.lacking.accepted
    whole = acceptances(store, accepted).get(name, NOTHING)
    if not whole.active() and sealed(name, NOTHING) == seal.ABSENT:
        return None
    parts = dict(_parts(store, found, name, whole))
    there = {v for v, part in parts.items() if is_there(store, name, part, found.whole)}
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
    untouched = name in found.untouched and not found.everything
    if not (untouched and methods.rerouted(name, acceptance)):
        wanted = prefixes(store, name, acceptance)
        forewarn(wanted)
        found.watch.took(name, methods.get(name).load(acceptance, wanted))
    found.vouched[name] = LOADED


def finish(store: Store, sysctls: Kept, lacking: Lacking, epochs: Epochs) -> None:
    """Verifies, and commits that kernel and store agree. Raises KernelError."""
    wanted = acceptances(store, lacking.accepted)
    seals = dict.fromkeys(lacking.stuck, UNKNOWN)
    for name in set(possible(store, wanted)) - lacking.stuck:
        found = sealed(name, wanted.get(name, NOTHING))
        if not found.fits:
            raise KernelError(
                "what was just set is not in the kernel any more",
                hint="something else (nftables.service, systemd-networkd?) is changing it; "
                "try again",
            )
        seals[name] = found.digest
    kept = {name: digest for name, digest in seals.items() if digest}
    store.finish(kept, sysctls, {name: epochs[name] for name in kept.keys() & epochs.keys()})
