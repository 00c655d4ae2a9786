"""Use cases of changing a director: lock, plan, apply, verify, roll back."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from vipctl import files, methods
from vipctl.addresses.prefixes import AddressSet, IPAddress
from vipctl.errors import Missing, Refused, VipctlError
from vipctl.files import Where
from vipctl.operate import advice, asked, safety
from vipctl.reconcile import healing, lacking, transaction
from vipctl.reconcile.healing import Found
from vipctl.services import planner
from vipctl.services.change import NOBODY, Change, Held
from vipctl.services.director import Director
from vipctl.services.marks import ACCEPTANCE_PREFIX
from vipctl.services.real import RealServer, Settings, real_key
from vipctl.services.service import Given, Service, made
from vipctl.state.directory import identity, lock
from vipctl.state.store import Store

CAP_NET_ADMIN = 12  # include/uapi/linux/capability.h


class Outcome(NamedTuple):
    """What a changing command did, or with `check` would have done."""

    change: Change
    restored: bool
    warnings: tuple[str, ...]
    stay: Held = NOBODY  # ranges of its services that are not in the change

    @property
    def changed(self) -> bool:
        return bool(self.change) or self.restored


class Controller(NamedTuple):
    """One state directory and the network namespace of the calling thread."""

    state_dir: Where
    check: bool = False
    force: bool = False
    diff: bool = False
    notify: Callable[[str], None] = lambda _: None

    # ranges

    def add_range(self, wanted: AddressSet, name: str, given: Given) -> Outcome:
        def plan(store: Store) -> Change:
            before = store.services().get(name)
            if not (before or given):
                raise Refused(
                    f"there is no service {name!r}",
                    hint=f"say how it balances (--real …), or first: vipctl add-service {name} …",
                )
            after = asked.existing(before, given) if before else self._new(store, name, given)
            change = planner.take(store, before, after, wanted)
            self._check_ranges(store, change)
            self._check_reals(store, before, after)
            return change

        return self._change(plan)

    def remove_range(self, unwanted: AddressSet, name: str | None) -> Outcome:
        def plan(store: Store) -> Change:
            services = store.services()
            if name and not name.startswith(ACCEPTANCE_PREFIX):  # those end with their last range
                _known(store, name)
            names = [name] if name else planner.sole_holders(store, unwanted)
            found = [services[n] for n in names if n in services]
            return planner.merged(
                planner.release(store, s, unwanted, end_if_empty=s.accepted_only) for s in found
            )

        return self._change(plan)

    # services

    def add_service(self, name: str, given: Given) -> Outcome:
        def plan(store: Store) -> Change:
            before = store.services().get(name)
            if before is None:
                return self._altered(store, None, self._new(store, name, given))
            asked.existing(before, given)
            return Change()

        return self._change(plan)

    def set_service(self, name: str, given: Given) -> Outcome:
        def plan(store: Store) -> Change:
            before = _known(store, name)
            asked.refuse_balancing(before, given)
            fields = asked.with_method(given, before) if "method" in given else given
            if given.get("fwmark", before.fwmark) != before.fwmark:
                planner.choose_mark(store.services().values(), given["fwmark"])
            return self._altered(store, before, before.altered(fields))

        return self._change(plan)

    def remove_service(self, name: str) -> Outcome:
        def plan(store: Store) -> Change:
            service = store.services().get(name)
            return planner.end(store, service) if service else Change()

        return self._change(plan)

    # real servers

    def add_real(self, name: str, reals: Iterable[RealServer]) -> Outcome:
        return self._change_reals(name, lambda service: planner.merge_reals(service, reals))

    def set_real(
        self, name: str, settings: Iterable[tuple[IPAddress, int | None, Settings]]
    ) -> Outcome:
        """Options by address and port, None for any."""

        def edit(service: Service) -> Service:
            for address, port, changed in settings:
                service = planner.set_real(service, address, port, changed)
            return service

        return self._change_reals(name, edit)

    def remove_real(self, name: str, endpoints: Iterable[tuple[IPAddress, int | None]]) -> Outcome:
        def edit(service: Service) -> Service:
            gone = {
                real_key(planner.find_real(service, address, port))
                for address, port in endpoints
                if planner.has_real(service, address, port)
            }
            return service.with_reals(r for r in service.reals if real_key(r) not in gone)

        return self._change_reals(name, edit)

    def drain_real(self, name: str, endpoints: Iterable[tuple[IPAddress, int | None]]) -> Outcome:
        return self.set_real(name, [(*endpoint, {"weight": 0}) for endpoint in endpoints])

    # everything

    def set_director(self, given: Mapping[str, Any]) -> Outcome:
        """Settings of the whole director, by name; None for one that is not to be set any more."""

        def plan(store: Store) -> Change:
            old = store.director()
            new = {name: value for name, value in {**old, **given}.items() if value is not None}
            return Change(director=(old, new))

        return self._change(plan)

    def apply(
        self,
        director: Director,
        read: Callable[[Mapping[str, Service]], dict[str, tuple[Service, AddressSet]]],
    ) -> Outcome:
        """The state becomes `director`, and what `read` returns for the stored services."""

        def plan(store: Store) -> Change:
            present = store.services()
            wanted = read(present)
            change = planner.become(store, wanted)._replace(director=(store.director(), director))
            if not self.force:
                safety.check_ranges(change.gained(), (s for s, _ in wanted.values()))
            before = {service.name: service.method for service in present.values()}
            others = {s.method for s, _ in wanted.values() if before.get(s.name) != s.method}
            for name in sorted(others):
                methods.get(name).probe()
            holder = safety.holder_of(wanted)
            for service, _ in wanted.values():
                safety.check_reals(holder, present.get(service.name), service, force=self.force)
            return change

        return self._change(plan, full=True)

    def restore(self) -> Outcome:
        """The kernel becomes what is stored; the state directory becomes this namespace's."""
        return self._change(lambda _: Change(), full=True, adopt=True)

    # how a change is made

    def _change(
        self, plan: Callable[[Store], Change], *, full: bool = False, adopt: bool = False
    ) -> Outcome:
        with self._session() as store:
            foreign = refuse_foreign_state(store, adopt=adopt)
            change = plan(store)
            safety.check_arp(store, change)
            found = healing.look(store, change, full=full)
            found.everything |= foreign
            self._refuse_taking_over(store, found, adopt=adopt)
            transaction.check(store, change, found.lacking)
            restored = self._carry_out(store, change, found, adopt=foreign)
            problems = list(found.lacking.problems(store, change if self.check else Change()))
            if problems and adopt:
                raise lacking.raised(problems)
            known = self._advice(store, change)
            stay = self._stay(store, change) if self.diff else {}
            return Outcome(change, restored, (*known, *map(str, problems), *found.warnings), stay)

    def _refuse_taking_over(self, store: Store, found: Found, *, adopt: bool) -> None:
        """What is in the kernel and differs may be another state directory's."""
        if found.differs() and not (store.in_use() or (adopt and self.force)):
            raise self._nothing_stored()
        if found.differs() and not adopt:
            healing.refuse_taken_over(store)

    def _carry_out(self, store: Store, change: Change, found: Found, *, adopt: bool) -> bool:
        """Heal, then change; or only foresee both. Whether anything was restored."""
        if self.check:
            transaction.foresee(store, change, found)
            return found.differs()
        restored = healing.heal(store, found, self.notify, adopt=adopt)
        transaction.commit(store, change, found, self.notify)
        return restored

    def _advice(self, store: Store, change: Change) -> tuple[str, ...]:
        """A change that is made has not failed because of what else there may be to know."""
        try:
            return tuple(advice.warnings(store, change, done=not self.check))
        except VipctlError as e:
            if self.check:
                raise
            return (f"what else there is to know could not be found out: {e.message}",)

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

    def _change_reals(self, name: str, edit: Callable[[Service], Service]) -> Outcome:
        def plan(store: Store) -> Change:
            before = _known(store, name)
            asked.refuse_balancing(before, {"reals": before.reals})
            return self._altered(store, before, edit(before))

        return self._change(plan)

    def _new(self, store: Store, name: str, given: Given) -> Service:
        mark = planner.choose_mark(store.services().values(), given.get("fwmark"))
        service = made(name, {**asked.with_method(given, None), "fwmark": mark})
        asked.refuse_for_proxy(service, given)
        return service

    def _altered(self, store: Store, before: Service | None, after: Service) -> Change:
        self._check_reals(store, before, after)
        return planner.alter(store, before, after)

    def _check_ranges(self, store: Store, change: Change) -> None:
        """Only what is new: what is held already was checked, or forced, when it came."""
        if not self.force:
            services = {s.name: s for s in (*store.services().values(), *change.after)}
            safety.check_ranges(change.gained(), services.values())

    def _check_reals(self, store: Store, before: Service | None, after: Service) -> None:
        holder = partial(safety.stored_holder, store)
        safety.check_reals(holder, before, after, force=self.force)

    def _nothing_stored(self) -> Refused:
        """What to say where only the kernel has something."""
        from vipctl.operate import extent

        return Refused(
            f"vipctl is at work in this kernel ({extent.words()}), but not from {self.state_dir}, "
            "where nothing is stored",
            hint="name the right one with --state-dir, or put its state.db back; to end what is in "
            "the kernel: vipctl restore --force",
        )


def _privileged() -> bool:
    status = files.text("/proc/thread-self/status")
    (effective,) = (line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> CAP_NET_ADMIN & 1)


def refuse_foreign_state(store: Store, *, adopt: bool) -> bool:
    """Whether the state is another boot's or namespace's. Raises Refused if it is not to be."""
    owner, here = store.meta("owner"), identity()
    if owner in (None, here) or not store.in_use():
        return False
    if adopt:
        return True
    if owner.split("/")[0] != here.split("/")[0]:
        raise Refused("the director has been booted since", hint="vipctl restore")
    raise Refused(
        "this state belongs to another network namespace",
        hint="name this namespace's own with --state-dir, or move it here: vipctl restore",
    )


def _known(store: Store, name: str) -> Service:
    service = store.services().get(name)
    if service is None:
        raise Refused(f"there is no service {name!r}", hint="vipctl list-services")
    return service
