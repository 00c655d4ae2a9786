"""What all checks need to know of the director."""

from typing import NamedTuple

from vipctl import methods
from vipctl.diagnosis.director.machine import Machine
from vipctl.services.service import Service
from vipctl.state.store import Store


class Site(NamedTuple):
    """`services` are those with VIPs."""

    store: Store
    machine: Machine
    services: tuple[Service, ...]

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
    def by_nftables(self) -> bool:
        """Whether tables of nftables are needed."""
        by = any(service.features.table for service in self.services)
        return by or any(service.source_nat for service in self.services)

    @property
    def balanced(self) -> bool:
        """Whether IPVS balances, for vipctl or for others."""
        return any(not service.proxied for service in self.services)


def of(store: Store, machine: Machine) -> Site:
    held = {name for name, _, _ in store.tallies()}
    found = (service for name, service in store.services().items() if name in held)
    return Site(store, machine, tuple(found))
