"""Use cases of changing a director: lock, plan, apply, verify, roll back."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from vipctl import methods, planner, routing, safety, sysctl, transaction
from vipctl.errors import Missing, Refused
from vipctl.model import (
    ACCEPTANCE_PREFIX,
    AUTO,
    PROXY,
    ROUTE,
    Change,
    Forward,
    RealServer,
    Service,
    idle_versions,
    real_key,
)
from vipctl.prefixes import AddressSet, IPAddress
from vipctl.statedir import identity, lock
from vipctl.store import Store

Given = dict[str, Any]  # fields of a Service that the operator named
CAP_NET_ADMIN = 12  # include/uapi/linux/capability.h
BALANCING = ("reals", "scheduler", "forward", "persistence", "set_sysctls")
ACCEPT_LOCAL = "net.ipv4.conf.all.accept_local"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a changing command did, or with `check` would have done."""

    change: Change
    restored: bool
    warnings: tuple[str, ...]

    @property
    def changed(self) -> bool:
        return bool(self.change) or self.restored


@dataclass(frozen=True, slots=True)
class Controller:
    """One state directory and the network namespace of the calling thread."""

    state_dir: Path
    check: bool = False
    force: bool = False
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
            after = _existing(before, given) if before else self._new(store, name, given)
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
            _existing(before, given)
            return Change()

        return self._change(plan)

    def set_service(self, name: str, given: Given) -> Outcome:
        def plan(store: Store) -> Change:
            before = _known(store, name)
            _refuse_balancing(before, given)
            asked = _with_method(given, before) if "method" in given else given
            if given.get("fwmark", before.fwmark) != before.fwmark:
                planner.choose_mark(store.services().values(), given["fwmark"])
            return self._altered(store, before, replace(before, **asked))

        return self._change(plan)

    def remove_service(self, name: str) -> Outcome:
        def plan(store: Store) -> Change:
            service = store.services().get(name)
            return planner.end(store, service) if service else Change()

        return self._change(plan)

    # real servers

    def add_real(self, name: str, reals: Iterable[RealServer]) -> Outcome:
        return self._change_reals(name, lambda service: planner.merge_reals(service, reals))

    def set_real(self, name: str, weights: Iterable[tuple[IPAddress, int | None, int]]) -> Outcome:
        """Weights by address and port, None for any."""

        def edit(service: Service) -> Service:
            for address, port, weight in weights:
                real = planner.find_real(service, address, port)
                service = _with_weight(service, real, weight)
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
        def edit(service: Service) -> Service:
            for address, port in endpoints:
                real = planner.find_real(service, address, port)
                service = _with_weight(service, real, 0)
            return service

        return self._change_reals(name, edit)

    # everything

    def apply(
        self, read: Callable[[Mapping[str, Service]], dict[str, tuple[Service, AddressSet]]]
    ) -> Outcome:
        """The state becomes what `read` returns for the stored services."""

        def plan(store: Store) -> Change:
            present = store.services()
            wanted = read(present)
            change = planner.become(store, wanted)
            if not self.force:
                safety.check_ranges(change.gained(), (s for s, _ in wanted.values()))
            for service, _ in wanted.values():
                before = present.get(service.name)
                if before is None or before.method != service.method:
                    methods.get(service.method).probe()
                holder = partial(_holder, wanted)
                safety.check_reals(holder, before, service, force=self.force)
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
            transaction.check(store, change)
            restored = foreign or transaction.drifted(store, full=full)
            if restored and not (adopt or store.in_use()):
                raise Refused(
                    "vipctl is at work in this kernel, but not from this state directory",
                    hint="name the right one with --state-dir; or take over: vipctl restore",
                )
            if restored and not self.check:
                transaction.heal(store, self.notify, adopt=foreign)
            if change and not self.check:
                transaction.commit(store, change, self.notify)
            return Outcome(change, restored, tuple(_warnings(store, change)))

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
            _refuse_balancing(before, {"reals": before.reals})
            return self._altered(store, before, edit(before))

        return self._change(plan)

    def _new(self, store: Store, name: str, given: Given) -> Service:
        mark = planner.choose_mark(store.services().values(), given.get("fwmark"))
        service = Service(name=name, **_with_method(given, None) | {"fwmark": mark})
        _refuse_for_proxy(service, given)
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


def _privileged() -> bool:
    status = Path("/proc/thread-self/status").read_text()
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


def _existing(service: Service, given: Given) -> Service:
    """The service, if it is as the options say. Raises Refused."""
    for field, value in given.items():
        if getattr(service, field) != value and (field, value) != ("method", AUTO):
            command = "add-real" if field == "reals" else "set-service"
            raise Refused(
                f"service {service.name!r} has {field} {_said(getattr(service, field))}",
                hint=f"vipctl {command} {service.name} …, or leave the option out",
            )
    return service


def _holder(wanted: Mapping[str, tuple[Service, AddressSet]], address: IPAddress) -> str | None:
    return next((name for name, (_, held) in wanted.items() if address in held), None)


def _with_method(given: Given, before: Service | None) -> Given:
    """`given` with a method that the director can use. Raises Missing, Refused."""
    method = given.get("method", AUTO)
    proxied = method == PROXY or "to_port" in given
    if before is not None and before.proxied is not proxied and method != AUTO:
        raise Refused(
            f"service {before.name!r} cannot go from method {before.method} to {method}: one is "
            "balanced by IPVS, the other by a local proxy",
            hint=f"remove-service {before.name} and add it anew; both at once: vipctl apply",
        )
    if method == AUTO:
        return given | {"method": methods.best(proxied=before.proxied if before else proxied)}
    methods.get(method).probe()
    return given


def _refuse_for_proxy(service: Service, given: Given) -> None:
    for field in BALANCING:
        if field in given and service.proxied:
            raise Refused(
                f"method {PROXY} hands packets to a local proxy, IPVS never sees them: it has no "
                f"{field}",
                hint="configure that in the proxy, or use a method that IPVS balances",
            )


def _refuse_balancing(service: Service, given: Given) -> None:
    """Refuses options of IPVS for a service whose IPVS side is not ours, or that has none.

    An acceptance-only service is named after its mark, which thus stays.
    """
    _refuse_for_proxy(service, given)
    for field in (*BALANCING, "fwmark"):
        if field in given and service.accepted_only:
            raise Refused(
                f"service {service.name!r} is acceptance only: its {field} is not vipctl's to set",
                hint="change it where the IPVS service is managed, or add-range --fwmark another",
            )


def _said(value: object) -> str:
    return (" ".join(map(str, value)) or "none") if type(value) is tuple else str(value)


def _known(store: Store, name: str) -> Service:
    service = store.services().get(name)
    if service is None:
        raise Refused(f"there is no service {name!r}", hint="vipctl list-services")
    return service


def _with_weight(service: Service, real: RealServer, weight: int) -> Service:
    changed = real._replace(weight=weight)
    return service.with_reals(changed if r == real else r for r in service.reals)


def _warnings(store: Store, change: Change) -> Iterator[str]:
    """What the operator should know of the services that were changed, and of the director."""
    for rule in routing.ahead():
        yield f"`{rule}` comes before vipctl's rules: VIPs that it matches are not accepted"
    ranges = {(name, shape.version) for name, shape, _ in store.tallies()}
    ranges |= {(held.service, held.version) for held in change.taken}
    methods_before = {service.name: service.method for service in change.before}
    for service in change.after:
        if methods_before.get(service.name) != service.method:
            yield from methods.get(service.method).probe()
        yield from _martians(service)
        for version in idle_versions(service):
            if (service.name, version) in ranges:
                yield (
                    f"service {service.name!r} has IPv{version} ranges and no IPv{version} real "
                    "server: their clients are refused"
                )
        for name, value in sysctl.missed(sysctl.needed([service])).items():
            if not service.set_sysctls:
                yield (
                    f"service {service.name!r} needs {name}={value}: set it, or "
                    f"vipctl set-service {service.name} --set-sysctls"
                )


def _martians(service: Service) -> Iterator[str]:
    direct = service.forward is not Forward.NAT and 4 in service.versions()
    if service.method == ROUTE and direct and sysctl.read(ACCEPT_LOCAL) != "1":
        yield (
            f"service {service.name!r}: with method {ROUTE} VIPs are local to the director, which "
            f"drops answers of real servers (--forward {service.forward}, IPv4) that pass through "
            "it; let them answer without the director, or use --method fwmark"
        )
