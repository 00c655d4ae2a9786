"""What all changing commands do: lock the state, plan, heal, commit, report."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from vipctl import files, methods
from vipctl.errors import KernelError, Missing, Refused, VipctlError
from vipctl.files import Where
from vipctl.linux.ipvs import paths
from vipctl.operate import advice, safety
from vipctl.reconcile import healing, lacking, looking, transaction
from vipctl.reconcile.looking import Found
from vipctl.services.change import NOBODY, Change, Held
from vipctl.state import runtime
from vipctl.state.directory import identity, lock
from vipctl.state.store import Store

CAP_NET_ADMIN = 12  # include/uapi/linux/capability.h


class Outcome(NamedTuple):
    """What a changing command did, or with `check` would have done."""

    change: Change
    restored: bool
    warnings: tuple[str, ...]
    stay: Held = NOBODY  # ranges of its services that are not in the change
    idle: str = ""  # why there is no change, if it tells

    @property
    def changed(self) -> bool:
        return bool(self.change) or self.restored


class Changing(NamedTuple):
    """One state directory and the network namespace of the calling thread."""

    state_dir: Where
    check: bool = False
    force: bool = False
    diff: bool = False
    notify: Callable[[str], None] = lambda _: None

    def change(
        self,
        plan: Callable[[Store], Change],
        *,
        idle: str = "",
        full: bool = False,
        adopt: bool = False,
    ) -> Outcome:
        """Plans a change of the stored state and carries it out, or with `check` only foresees it.

        `idle` says why there may be nothing to change. With `full`, every prefix in the kernel is
        compared. With `adopt`, a state of another boot or namespace becomes this one's, and what
        the director cannot have is an error. Raises any VipctlError; kernel and state are as before
        then.
        """
        with self._session() as store:
            foreign = refuse_foreign_state(store, adopt=adopt)
            change = plan(store).following(store.role())
            safety.check_arp(store, change)
            found = looking.look(store, change, whole=methods.PARTS if full else ())
            found.everything |= foreign
            self._refuse_taking_over(store, found, adopt=adopt)
            transaction.check(store, change, found.lacking)
            restored = self._carry_out(store, change, found, adopt=foreign)
            if not self.check:
                found.warnings += _forget_paths(store, change, full=full)
            problems = list(found.lacking.problems(store, change if self.check else Change()))
            if problems and adopt:
                raise lacking.raised(problems)
            known = self._advice(store, change)
            stay = self._stay(store, change) if self.diff else {}
            warnings = (*known, *map(str, problems), *found.warnings)
            return Outcome(change, restored, warnings, stay, "" if change else idle)

    def _refuse_taking_over(self, store: Store, found: Found, *, adopt: bool) -> None:
        """Raises Refused if what differs in the kernel may be another state directory's."""
        if found.differs() and not (store.in_use() or (adopt and self.force)):
            raise self._nothing_stored()
        if found.differs() and not adopt:
            looking.refuse_taken_over(store)

    def _carry_out(self, store: Store, change: Change, found: Found, *, adopt: bool) -> bool:
        """Heals, then commits; or only foresees both. Returns whether anything was restored."""
        if self.check:
            transaction.foresee(store, change, found)
            return found.differs()
        restored = healing.heal(store, found, self.notify, adopt=adopt)
        restored |= self._commit(store, change, found)
        if change or restored:
            runtime.tell(runtime.CHANGED)  # while the state is locked: all this is done by then
        return restored

    def _commit(self, store: Store, change: Change, found: Found) -> bool:
        """Commits; returns whether it had to restore prefixes that others have deleted.

        Whether they are there shows when they are to go. On the way back from that failure, all of
        the method's prefixes were loaded.
        """
        try:
            transaction.commit(store, change, found, self.notify)
            return False
        except KernelError:
            if store.intent() is not None or found.knows(change):
                raise
        transaction.commit(store, change, looking.look(store, change), self.notify)
        return True

    def _advice(self, store: Store, change: Change) -> tuple[str, ...]:
        """The warnings; after a change, failing to find them out is only a warning itself."""
        try:
            return tuple(advice.warnings(store, change, done=not self.check))
        except VipctlError as e:
            if self.check:
                raise
            return (f"whether there are warnings could not be found out: {e.message}",)

    def _stay(self, store: Store, change: Change) -> Held:
        """What the changed services hold before and after."""
        moved = change.released if self.check else change.taken
        names = {service.name for service in (*change.before, *change.after)}
        return {
            place: spans.without(moved[place]) if place in moved else spans
            for name in sorted(names)
            for place, spans in store.held(name).items()
        }

    @contextmanager
    def _session(self) -> Iterator[Store]:
        """The store, locked if it may change."""
        if not _privileged():
            raise Missing(
                "vipctl changes the kernel, which needs root (CAP_NET_ADMIN)", hint="use sudo"
            )
        if self.check:
            with Store.read(self.state_dir) as store:
                yield store
            return
        waiting = partial(self.notify, "waiting for another vipctl command")
        with lock(self.state_dir, waiting=waiting), Store.open(self.state_dir) as store:
            yield store

    def _nothing_stored(self) -> Refused:
        """The error for VIPs in the kernel while the state is empty."""
        from vipctl.operate import extent

        return Refused(
            f"vipctl is at work in this kernel ({extent.words()}), but not from {self.state_dir}, "
            "where nothing is stored",
            hint="name the right one with --state-dir, or put its state.db back; to end what is in "
            "the kernel: vipctl restore --force",
        )


def _forget_paths(store: Store, change: Change, *, full: bool) -> Iterator[str]:
    """Removes the ways of health checks that nobody takes any more; failing to is a warning."""
    gone = {*paths.wanted(change.before)} - {*paths.wanted(change.after)}
    try:
        if gone or full:
            paths.prune(paths.wanted(store.services().values()), store.token())
    except VipctlError as e:
        yield f"IPVS may keep services for health checks that nobody needs: {e.message}"


def _privileged() -> bool:
    status = files.text("/proc/thread-self/status")
    (effective,) = (line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> CAP_NET_ADMIN & 1)


def booted_since(store: Store) -> bool:
    """Whether the state was last used before the director's last boot."""
    owner = store.meta("owner") or identity()
    return store.in_use() and owner.split("/")[0] != identity().split("/")[0]


def refuse_foreign_state(store: Store, *, adopt: bool) -> bool:
    """Whether the state is another boot's or namespace's. Raises Refused if so, without `adopt`."""
    owner, here = store.meta("owner"), identity()
    if owner in (None, here) or not store.in_use():
        return False
    if adopt:
        return True
    if booted_since(store):
        raise Refused("the director has been booted since", hint="vipctl restore")
    raise Refused(
        "this state belongs to another network namespace",
        hint="name this namespace's own with --state-dir, or move it here: vipctl restore",
    )
