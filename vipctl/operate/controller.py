"""Use cases that change a director: each plans a Change from the stored state.

Each raises what `Changing.change` and its plan raise.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from vipctl import methods
from vipctl.addresses.prefixes import AddressSet, IPAddress
from vipctl.errors import Refused
from vipctl.operate import asked, safety
from vipctl.operate.changing import Changing, Outcome
from vipctl.services import moving, planner, role
from vipctl.services import reals as servers
from vipctl.services.change import Change
from vipctl.services.director import Director
from vipctl.services.marks import ACCEPTANCE_PREFIX
from vipctl.services.ports import Ports, difference, union
from vipctl.services.real import RealServer, Settings
from vipctl.services.service import Given, Service, made
from vipctl.services.sync import Sync
from vipctl.state.store import Store

Endpoint = tuple[IPAddress, int | None]
Endpoints = Iterable[Endpoint]


class Controller(Changing):
    """The commands that change one state directory and the calling thread's network namespace."""

    __slots__ = ()

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

        return self.change(plan)

    def remove_range(self, unwanted: AddressSet, name: str | None) -> Outcome:
        def plan(store: Store) -> Change:
            services = store.services()
            if name and not name.startswith(ACCEPTANCE_PREFIX):  # those end with their last range
                asked.known(store.services(), name)
            names = [name] if name else planner.sole_holders(store, unwanted)
            found = [services[n] for n in names if n in services]
            return planner.merged(
                planner.release(store, s, unwanted, end_if_empty=s.accepted_only) for s in found
            )

        return self.change(
            plan, idle=f"{name} holds none of these" if name else "no service holds any of these"
        )

    # services

    def add_service(self, name: str, given: Given) -> Outcome:
        def plan(store: Store) -> Change:
            before = store.services().get(name)
            if before is None:
                return self._altered(store, None, self._new(store, name, given))
            asked.existing(before, given)
            return Change()

        return self.change(plan)

    def set_service(self, name: str, given: Given) -> Outcome:
        def plan(store: Store) -> Change:
            before = asked.known(store.services(), name)
            asked.refuse_balancing(before, given)
            fields = asked.with_method(given, before) if "method" in given else given
            if given.get("fwmark", before.fwmark) != before.fwmark:
                planner.choose_mark(store.services().values(), given["fwmark"])
            return self._altered(store, before, before.altered(fields))

        return self.change(plan)

    def add_port(self, name: str, ports: Ports) -> Outcome:
        """Adds ports to those that the service has."""

        def edit(service: Service) -> Ports:
            return union((*service.ports, *ports)) if service.ports else ()

        return self._change_ports(name, edit, f"{name} takes these already")

    def remove_port(self, name: str, ports: Ports) -> Outcome:
        """Raises Refused if no port would be left, as an empty list means every port."""

        def edit(service: Service) -> Ports:
            left = difference(service.ports, ports)
            if not left:
                raise Refused(
                    f"service {name!r} takes every port"
                    if not service.ports
                    else f"service {name!r} would have no port left",
                    hint=f"name those that it is to have: vipctl set-service {name} --port …",
                )
            return left

        return self._change_ports(name, edit, f"{name} takes none of these")

    def _change_ports(self, name: str, edit: Callable[[Service], Ports], idle: str) -> Outcome:
        def plan(store: Store) -> Change:
            before = asked.known(store.services(), name)
            return self._altered(store, before, before.altered({"ports": edit(before)}))

        return self.change(plan, idle=idle)

    def remove_services(self, names: Sequence[str]) -> Outcome:
        absent: list[str] = []

        def plan(store: Store) -> Change:
            services, wanted = store.services(), dict.fromkeys(names)
            absent[:] = [name for name in wanted if name not in services]
            return planner.merged(planner.end(store, services[n]) for n in wanted if n in services)

        done = self.change(plan, idle=f"there is no service {' or '.join(names)}")
        more = (f"there is no service {name!r}" for name in absent if done.change)
        return done._replace(warnings=(*done.warnings, *more))

    def rename_service(self, old: str, new: str) -> Outcome:
        def plan(store: Store) -> Change:
            if old not in store.services() and new in store.services():
                return Change()
            before = asked.known(store.services(), old)
            if before.accepted_only:
                raise Refused(
                    f"{old!r} is acceptance only, and called by its fwmark",
                    hint=f"vipctl remove-service {old}, then add-range --service {new}",
                )
            return moving.rename(store, before, new)

        return self.change(plan)

    def move_range(self, wanted: AddressSet, target: str) -> Outcome:
        def plan(store: Store) -> Change:
            return moving.move(store, wanted, asked.known(store.services(), target))

        return self.change(plan, idle="no other service holds any of these")

    # real servers

    def add_real(self, name: str, reals: Iterable[RealServer]) -> Outcome:
        return self.edit_reals(name, lambda service: servers.add(service, reals))

    def set_real(
        self, name: str | None, settings: Iterable[tuple[IPAddress, int | None, Settings]]
    ) -> Outcome:
        """Changes options, given by address and port (None: any port); no name: all services."""
        return self._edit_each(name, settings, servers.change, " with other options")

    def remove_real(self, name: str | None, endpoints: Endpoints) -> Outcome:
        return self._edit_each(name, endpoints, servers.remove)

    def drain_real(self, name: str | None, endpoints: Endpoints) -> Outcome:
        return self._edit_each(name, endpoints, servers.drain, " that is not drained")

    def undrain_real(self, name: str | None, endpoints: Endpoints) -> Outcome:
        return self._edit_each(name, endpoints, servers.undrain, " that is drained")

    def replace_real(
        self, name: str | None, old: Endpoint, new: tuple[IPAddress, int | None, Settings]
    ) -> Outcome:
        def replace(service: Service, address: IPAddress, port: int | None) -> Service:
            return servers.replace(service, (address, port), new[:2], new[2])

        return self._edit_each(name, [old], replace, " to be replaced")

    def _edit_each(
        self,
        name: str | None,
        found: Iterable[Any],
        edit: Callable[..., Service],
        kind: str = "",
    ) -> Outcome:
        """Edits each (address, port, …) of a service or, without a name, of all that have it.

        `kind` says of which of these there is none where nothing changes.
        """
        each = list(found)
        none = f"{name} has none of these" if name else "no service has any of these"

        def edit_all(service: Service) -> Service:
            for address, port, *more in each:
                if name is not None or servers.has(service, address, port):
                    service = edit(service, address, port, *more)
            return service

        return self.edit_reals(name, edit_all, idle=none + kind)

    # everything

    def set_director(self, given: Mapping[str, Any]) -> Outcome:
        """Settings of the whole director, by name; None for one that is not to be set any more."""

        def plan(store: Store) -> Change:
            old = store.director()
            new = {name: value for name, value in {**old, **given}.items() if value is not None}
            return Change(director=(old, new))

        return self.change(plan)

    def set_sync(self, sync: Sync | None) -> Outcome:
        """Connections are synchronised with other directors so, or no more."""
        return self.change(lambda store: Change(sync=(store.sync(), sync)))

    def set_role(self, name: str | None, *, passive: bool) -> Outcome:
        """Of one service or, without a name, of the director: those of services stay."""

        def plan(store: Store) -> Change:
            if name is not None:
                asked.known(store.services(), name)
            old = store.role()
            return Change(role=(old, old.switched(name, passive=passive)))

        whose = "this director" if name is None else f"service {name}"
        return self.change(plan, idle=f"{whose} is {role.word(passive=passive)} already")

    def follow(self, *, passive: bool) -> Outcome:
        """The role of all services that only one director may serve."""

        def plan(store: Store) -> Change:
            old = store.role()
            names = {s.name for s in store.services().values() if s.exclusive}
            services = old.services | names if passive else old.services - names
            return Change(role=(old, old._replace(services=services)))

        return self.change(plan)

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

        return self.change(plan, full=True)

    def restore(self) -> Outcome:
        """Brings the kernel to the stored state, even if that is another boot's or namespace's."""
        return self.change(lambda _: Change(), full=True, adopt=True)

    def edit_reals(
        self, name: str | None, edit: Callable[[Service], Service], *, idle: str = ""
    ) -> Outcome:
        """Edits one service or, without a name, all that IPVS balances."""

        def plan(store: Store) -> Change:
            every = [s for s in store.services().values() if s.balanced]
            return planner.merged(
                self._altered(store, before, edit(before))
                for before in (every if name is None else [_balanced(store, name)])
            )

        return self.change(plan, idle=idle)

    def _new(self, store: Store, name: str, given: Given) -> Service:
        mark = planner.choose_mark(store.services().values(), given.get("fwmark"))
        service = made(name, {**asked.with_method(given, None), "fwmark": mark})
        asked.refuse_for_proxy(service, given)
        return service

    def _altered(self, store: Store, before: Service | None, after: Service) -> Change:
        self._check_reals(store, before, after)
        return planner.alter(store, before, after)

    def _check_ranges(self, store: Store, change: Change) -> None:
        """Checks new addresses only: those held were checked, or forced, when they were added."""
        if not self.force:
            services = {s.name: s for s in (*store.services().values(), *change.after)}
            safety.check_ranges(change.gained(), services.values())

    def _check_reals(self, store: Store, before: Service | None, after: Service) -> None:
        holder = partial(safety.stored_holder, store)
        safety.check_reals(holder, before, after, force=self.force)


def _balanced(store: Store, name: str) -> Service:
    service = asked.known(store.services(), name)
    asked.refuse_balancing(service, {"reals": service.reals})
    return service
