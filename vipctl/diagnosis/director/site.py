"""What all checks need to know of the director."""

from typing import NamedTuple

from vipctl import methods
from vipctl.diagnosis.director.machine import Machine
from vipctl.files import Where
from vipctl.services.service import Service
from vipctl.state.store import Store


class Site(NamedTuple):
    """`services` are those with VIPs, `versions` the IP versions of these."""

    state_dir: Where
    store: Store
    machine: Machine
    services: tuple[Service, ...]
    versions: frozenset[int]

    @property
    def methods(self) -> list[str]:
        """Those in use, best first."""
        used = {service.method for service in self.services}
        return [name for name in methods.NAMES if name in used]

    @property
    def routed(self) -> bool:
        """Whether VIPs are accepted by rules or routes."""
        return any(methods.get(name).ROUTED for name in self.methods)

    @property
    def tabled(self) -> bool:
        """Whether VIPs are accepted by rules that lead to a table of vipctl's."""
        return any(service.features.priority for service in self.services)

    @property
    def by_nftables(self) -> bool:
        """Whether tables of nftables are needed."""
        by = any(service.features.table for service in self.services)
        return by or any(service.source_nat for service in self.services)

    @property
    def balanced(self) -> bool:
        """Whether IPVS balances, for vipctl or for others."""
        return any(not service.proxied for service in self.services)


def of(state_dir: Where, store: Store, machine: Machine) -> Site:
    tallies = list(store.tallies())
    names = {name for name, _, _ in tallies}
    found = tuple(service for name, service in store.services().items() if name in names)
    versions = frozenset(shape.version for _, shape, _ in tallies)
    return Site(state_dir, store, machine, found, versions)
