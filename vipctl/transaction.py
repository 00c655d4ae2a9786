"""Kernel and store together: is the kernel as stored, make it so, take it to the next state.

Traffic comes last and goes first: IPVS services are there before their packets are accepted, and
stay until they no longer are.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

from vipctl import ipvs, methods, sysctl
from vipctl.acceptance import Delta, acceptances, differences, joined, prefixes
from vipctl.errors import KernelError, Missing, Refused
from vipctl.model import NOTHING, Acceptance, Change, Service
from vipctl.store import Store
from vipctl.sysctl import Kept

Notify = Callable[[str], None]
Lost = Mapping[str, Missing]
MANY = 10_000  # ranges whose loading an operator notices


def drifted(store: Store, *, full: bool = False) -> bool:
    """Whether the kernel is not as stored; without `full` it looks at few prefixes."""
    if store.intent() is not None:
        return True
    wanted, seals = acceptances(store), store.seals()
    for name in _methods(store):
        seal = _seal(name, wanted.get(name, NOTHING))
        if seal is None or seal != seals.get(name, ""):
            return True
    virtuals = ipvs.desired(store.services().values())
    if ipvs.read(key.mark for key in virtuals) != virtuals:
        return True
    if sysctl.unmet({name: new for name, (_, new) in store.sysctls().items()}):
        return True
    epochs = store.epochs()
    return full and any(
        not methods.get(name).holds(found, prefixes(store, name, found), epochs.get(name, "none"))
        for name, found in wanted.items()
    )


def refuse_taken_over(store: Store) -> None:
    """Raises Refused where what is in the kernel is another state directory's."""
    for name in methods.NAMES:
        if (owner := _owner(name)) and owner != store.token():
            raise Refused(
                f"what vipctl has in this kernel (method {name}) is another state directory's",
                hint="name that one with --state-dir; or take all back from it: vipctl restore",
            )


def _owner(name: str) -> str:
    try:
        return methods.get(name).owner()
    except Missing:
        return ""


def compared(store: Store) -> None:
    """Notes that all is as stored, so that it need not be compared again before it changes."""
    if store.epochs() != (now := _epochs(store.seals())):
        store.note(now)


def _epochs(used: Iterable[str]) -> dict[str, str]:
    return {name: methods.get(name).epoch() for name in used}


def lost(store: Store) -> Lost:
    """Methods in use that the director cannot use any more, and why; nothing of them is left."""
    problems = {name: methods.unusable(name) for name in acceptances(store)}
    return {name: problem for name, problem in problems.items() if problem}


def still_used(store: Store, change: Change, gone: Lost) -> Lost:
    """Those of the lost methods that the change does not leave."""
    used = {service.method for service in _after(store, change)}
    return {name: problem for name, problem in gone.items() if name in used}


def heal(
    store: Store,
    notify: Notify,
    *,
    gone: Collection[str] = (),
    adopt: bool = False,
    sysctls: Kept | None = None,
) -> None:
    """Brings the kernel to the stored state, whatever it is in. Raises KernelError, Missing.

    Lost methods, in `gone`, are left out. With `adopt`, what was there before vipctl changed
    sysctls is looked up anew; `sysctls` are those to have, if they are not to be found out.
    """
    _announce(notify, sum(count for _, _, count in store.tallies()))
    services = store.services().values()
    virtuals = ipvs.desired(services)
    present = ipvs.read({key.mark for key in virtuals} | (store.intent() or frozenset()))
    kept = sysctl.of_routers(store.sysctls()) if adopt else store.sysctls()
    sysctls = sysctl.plan(kept, services) if sysctls is None else sysctls
    store.begin(Change(), {key.mark for key in virtuals}, kept | sysctls)
    ipvs.add(virtuals, present)
    sysctl.enforce(kept, sysctls)
    wanted = acceptances(store)
    for name in methods.NAMES:
        if name not in gone and (name in wanted or _seal(name, NOTHING) != ""):
            after = wanted.get(name, NOTHING)
            methods.get(name).load(after, prefixes(store, name, after))
    ipvs.remove(virtuals, present)
    _finish(store, sysctls, gone)


def check(store: Store, change: Change) -> None:
    """Raises what `commit` would raise before it begins."""
    old, new = ipvs.desired(change.before), ipvs.desired(change.after)
    _refuse_foreign(ipvs.read({key.mark for key in (*old, *new)}), old)


def commit(store: Store, change: Change, notify: Notify, *, gone: Collection[str] = ()) -> None:
    """Takes kernel and store, which agree, to the next state; if that fails, both are as before.

    Lost methods, in `gone`, are those that the change leaves.
    """
    _announce(notify, sum(map(len, (*change.released.values(), *change.taken.values()))))
    before, kept = acceptances(store), store.sysctls()
    old, new = ipvs.desired(change.before), ipvs.desired(change.after)
    marks = {key.mark for key in (*old, *new)}
    present = ipvs.read(marks)
    sysctls = sysctl.plan(kept, _after(store, change))
    store.begin(change, marks, kept | sysctls)
    try:
        ipvs.add(new, present)
        sysctl.enforce(kept, sysctls)
        _accept(store, change, before, gone)
        ipvs.remove(new, present)
        _finish(store, sysctls)
    except BaseException as e:
        _roll_back(store, change, kept, gone, e)
        raise


def _methods(store: Store) -> list[str]:
    """Those whose traces may be in the kernel: any, as far as an empty state can tell."""
    if not store.services():
        return list(methods.NAMES)
    return sorted(acceptances(store).keys() | store.seals().keys())


def _announce(notify: Notify, spans: int) -> None:
    if spans >= MANY:
        notify(f"loading {spans:,} ranges into the kernel")


def _finish(store: Store, sysctls: Kept, gone: Collection[str] = ()) -> None:
    """Verifies, and commits that kernel and store agree. Raises KernelError."""
    wanted, seals = acceptances(store), {}
    for name in set(_methods(store)).difference(gone):
        seal = _seal(name, wanted.get(name, NOTHING))
        if seal is None:
            raise KernelError(
                "what was just set is not in the kernel any more",
                hint="something else (nftables.service, systemd-networkd?) changes it at this "
                "moment; try again",
            )
        seals[name] = seal
    found = {name: seal for name, seal in seals.items() if seal}
    store.finish(found, sysctls, _epochs(found))


def _seal(name: str, acceptance: Acceptance) -> str | None:
    """A method that the director cannot use has left nothing in the kernel."""
    try:
        return methods.get(name).seal(acceptance)
    except Missing:
        return None if acceptance.active() else ""


def _accept(
    store: Store, change: Change, before: dict[str, Acceptance], gone: Collection[str]
) -> None:
    """What goes from one method to another is there before it leaves."""
    after = acceptances(store)
    deltas = differences(store, change, before, after)
    between = dict(before)
    for name, delta in deltas.items():
        if delta.arriving:
            old = before.get(name, NOTHING)
            between[name] = joined(old, after[name], delta)
            methods.get(name).apply(old, between[name], {}, delta.arriving)
    for name in sorted((before.keys() | after.keys()).difference(gone)):
        delta = deltas.get(name, Delta())
        methods.get(name).apply(
            between.get(name, NOTHING), after.get(name, NOTHING), delta.removed, delta.added
        )


def _roll_back(
    store: Store, change: Change, sysctls: Kept, gone: Collection[str], cause: BaseException
) -> None:
    try:
        marks = {key.mark for key in ipvs.desired((*change.before, *change.after))}
        store.begin(change.inverse(), marks, store.sysctls())
        heal(store, lambda _: None, gone=gone, sysctls=sysctls)
    except Exception as e:
        cause.add_note(f"and the way back failed too ({e}): run vipctl restore")


def _after(store: Store, change: Change) -> list[Service]:
    gone = {service.name for service in change.before}
    stay = [service for name, service in store.services().items() if name not in gone]
    return [*stay, *change.after]


def _refuse_foreign(
    present: dict[ipvs.Key, ipvs.Virtual], ours: dict[ipvs.Key, ipvs.Virtual]
) -> None:
    marks = {key.mark for key in ours}
    for key in present:
        if key.mark not in marks:
            raise Refused(
                f"IPVS has a service for fwmark {key.mark} ({key.mark:#x}) that is not vipctl's",
                hint="name another with --fwmark, or remove that one: "
                f"ipvsadm -D -f {key.mark}" + (" -6" if key.version == 6 else ""),
            )
