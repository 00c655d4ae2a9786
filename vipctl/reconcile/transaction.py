"""Takes kernel and store together to the next state, or back.

An IPVS service is added before its packets are accepted, and removed once they no longer are.
"""

from collections.abc import Iterable

from vipctl import methods
from vipctl.errors import Missing, Refused
from vipctl.health.verdicts import NONE, Verdicts
from vipctl.linux import ipvs, sysctl
from vipctl.linux.ipvs import daemons, paths
from vipctl.linux.ipvs.messages import Key, Virtual
from vipctl.linux.sysctl import Kept
from vipctl.reconcile import healing, looking
from vipctl.reconcile.acceptance import Delta, acceptances, differences, while_arriving
from vipctl.reconcile.epochs import Watch
from vipctl.reconcile.healing import Notify
from vipctl.reconcile.lacking import Lacking, planned_sysctls, unaccepted
from vipctl.reconcile.looking import Found
from vipctl.services.change import NOTHING, Acceptance, Change, of_version
from vipctl.state.database import Unwritten
from vipctl.state.store import Store

Virtuals = dict[Key, Virtual]


def check(store: Store, change: Change, lacking: Lacking) -> None:
    """Raises what `commit` would raise before it begins."""
    old, new = _rebalanced(change)
    try:
        _refuse_foreign(_others(store, {key.mark for key in (*old, *new)}), old)
    except Missing:
        if _asked(old, new, lacking):
            raise
    _refuse_unacceptable(change, lacking)
    _refuse_unsyncable(change)


def _refuse_unsyncable(change: Change) -> None:
    old, new = change.sync
    if new and new != old:
        daemons.refuse(new, (old,) if old else ())


def _rebalanced(change: Change, verdicts: Verdicts = NONE) -> tuple[Virtuals, Virtuals]:
    """The virtual services of those that change in more than their ranges, before and after."""
    same = {*change.before} & {*change.after}
    old, new = (ipvs.desired(set(side) - same, verdicts) for side in (change.before, change.after))
    return old, new


def _asked(old: Virtuals, new: Virtuals, lacking: Lacking) -> Virtuals:
    """The virtual services that are new to IPVS, without those that it refused before already."""
    return {
        key: virtual
        for key, virtual in new.items()
        if old.get(key) != virtual and not _lacks_anyway(key, old, new, lacking)
    }


def _lacks_anyway(key: Key, old: Virtuals, new: Virtuals, lacking: Lacking) -> bool:
    """Whether IPVS refused the service before, and only its real servers change.

    That is no reason to refuse the change.
    """
    if key not in lacking.balanced or key not in old:
        return False
    return ipvs.settings(old[key]) == ipvs.settings(new[key])


def _others(store: Store, marks: Iterable[int]) -> Virtuals:
    """What IPVS has there; a path of health checks gives way, which then take another mark."""
    found, owner = ipvs.read(marks), store.token()
    return {key: one for key, one in found.items() if not paths.is_path(key, one, owner)}


def _refuse_foreign(present: Virtuals, ours: Virtuals) -> None:
    marks = {key.mark for key in ours}
    for key in present:
        if key.mark not in marks:
            raise Refused(
                f"IPVS has a service for fwmark {key.mark} ({key.mark:#x}) that is not vipctl's",
                hint="name another with --fwmark, or remove that one: "
                f"ipvsadm -D -f {key.mark}" + (" -6" if key.version == 6 else ""),
            )


def _refuse_unacceptable(change: Change, lacking: Lacking) -> None:
    """Raises why a method cannot accept addresses that no service held before.

    Addresses that are held already may go from one service to another.
    """
    services = {service.name: service for service in change.after}
    for place, spans in change.taken.items():
        service = services[place.service]
        reasons = lacking.reasons(service.method)
        error = reasons.get(place.version)
        if error and spans - of_version(change.released, place.version):
            versions = [version for version in reasons if reasons[version] is error]
            problem = unaccepted(service.method, [service.name], error, versions)
            raise type(error)(str(problem), hint=problem.hint)


def foresee(store: Store, change: Change, found: Found) -> None:
    """Finds and raises what `heal` and `commit` would, as far as shows without any change."""
    looking.foresee(store, found)
    if not change:
        return
    old, new = _rebalanced(change)
    for error in ipvs.foreseen(_asked(old, new, found.lacking)).values():
        raise error
    kept, planned = store.sysctls(), planned_sysctls(store, change)
    _permit(sysctl.foreseen(kept, planned), planned, found)


def commit(store: Store, change: Change, found: Found, notify: Notify) -> None:
    """Takes kernel and store to the next state; if that fails, both are as before.

    They agree before, but for what is lacking.
    """
    if not change:
        return
    lacking = found.lacking
    _refuse_unacceptable(change, lacking)  # again: healing may have found more
    healing.announce(notify, sum(map(len, (*change.released.values(), *change.taken.values()))))
    before, kept = acceptances(store, lacking.accepted), store.sysctls()
    marks = {key.mark for side in _rebalanced(change) for key in side}
    sysctls = planned_sysctls(store, change)
    watch = Watch({*before, *(part for service in change.after for part in service.parts)})
    vouched = _vouched(store, before, watch)
    store.begin(change, marks, kept | sysctls)
    try:
        new, present = _balance(store, change, marks, lacking)
        _permit(sysctl.enforce(kept, sysctls), sysctls, found)
        _synchronise(change)
        _accept(store, change, before, lacking, watch)
        ipvs.remove(new, present)
        epochs = {name: epoch for name, epoch in watch.undisturbed().items() if name in vouched}
        healing.finish(store, sysctls, lacking, epochs)
        store.check_there()
    except BaseException as e:
        _roll_back(store, change, kept, lacking, e)
        raise


def _synchronise(change: Change) -> None:
    old, new = change.sync
    if old != new:
        daemons.bring(new, (old,) if old else ())


def _vouched(store: Store, before: Iterable[str], watch: Watch) -> set[str]:
    """Methods whose prefixes are known to be as stored, and those that were not in use before."""
    known = store.epochs()
    return {n for n, epoch in watch.start.items() if n not in before or known.get(n) == epoch}


def _balance(
    store: Store, change: Change, marks: Iterable[int], lacking: Lacking
) -> tuple[Virtuals, Virtuals]:
    """Adds the virtual services; returns them, and what there was.

    What IPVS refused before it may refuse again: no failure here.
    """
    with store.weighing() as verdicts:
        old, new = _rebalanced(change, verdicts)
        present = healing.present(marks)
        refused = healing.balance(new, present)
    for key, error in refused.items():
        if not _lacks_anyway(key, old, new, lacking):
            raise error
    for key in new.keys() & lacking.balanced.keys() - refused.keys():
        del lacking.balanced[key]
    return new, present


def _permit(refused: sysctl.Refusals, planned: Kept, found: Found) -> None:
    """Raises for a sysctl that cannot be set, unless that was so before the change.

    One that cannot be put back stays, with a warning.
    """
    for name in refused.keys() & planned.keys() - found.lacking.sysctls.keys():
        raise refused[name]
    found.note(refused, planned)


def _accept(
    store: Store, change: Change, before: dict[str, Acceptance], lacking: Lacking, watch: Watch
) -> None:
    """Applies the change in each method; what changes methods is added before it is removed."""
    wanted = acceptances(store, lacking.accepted)
    deltas = differences(store, change, before, wanted, lacking.accepted)
    healing.forewarn(*(part for delta in deltas.values() for part in delta.parts()))
    between = dict(before)
    for name, delta in deltas.items():
        if delta.arriving:
            old = before.get(name, NOTHING)
            between[name] = while_arriving(old, wanted[name], delta)
            watch.took(name, methods.get(name).apply(old, between[name], {}, delta.arriving))
    for name in sorted(before.keys() | wanted.keys()):
        delta = deltas.get(name, Delta())
        old, new = between.get(name, NOTHING), wanted.get(name, NOTHING)
        watch.took(name, methods.get(name).apply(old, new, delta.removed, delta.added))


def _roll_back(
    store: Store, change: Change, sysctls: Kept, lacking: Lacking, cause: BaseException
) -> None:
    names = {p for s in (*store.services().values(), *change.before) for p in s.parts}
    known = {problem.words for problem in lacking.problems(store)}
    found = Found(Watch(names), lacking, everything=True)
    begun = False
    try:
        marks = {key.mark for key in ipvs.desired((*change.before, *change.after))}
        store.begin(change.inverse(), marks, store.sysctls())
        begun = True
        healing.make_as_stored(store, found, lambda _: None, store.sysctls(), sysctls)
        failed = [p for p in lacking.problems(store) if p.words not in known]
        said = [*map(str, failed), *found.warnings]
    except Unwritten as e:
        as_before = "kernel and state are as they were, but that could not be recorded"
        cause.add_note(as_before if begun else _stuck(cause, e))
        return
    except Exception as e:
        said = [str(e)]
    if said:
        cause.add_note(f"and the way back failed too ({'; '.join(said)}): run vipctl restore")


def _stuck(cause: BaseException, obstacle: Unwritten) -> str:
    """How far a change has come that could not be undone in the state."""
    if not obstacle.certain:
        return "the next changing command brings the kernel to what the state then says"
    if isinstance(cause, Unwritten):  # at the very end
        return "the change is made all the same, in kernel and state: it could not be undone"
    return (
        f"it could not be undone ({obstacle.message}): the state has the change, the kernel "
        "perhaps a part of it; once that is repaired: vipctl restore"
    )
