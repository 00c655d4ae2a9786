"""VIPs that are accepted for IPVS services of others, which IPVS does not have."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vipctl.addresses.prefixes import VERSIONS
from vipctl.errors import Missing
from vipctl.linux import ipvs, timeouts
from vipctl.linux.ipvs.messages import Key
from vipctl.reconcile.acceptance import with_ranges
from vipctl.services.change import Change
from vipctl.services.service import Service
from vipctl.state.store import Store

OF_OTHERS = "look at what makes it (keepalived, ipvsadm)"


class Unbalanced(NamedTuple):
    says: str
    hint: str


def found(store: Store, services: Iterable[Service]) -> Iterator[Unbalanced]:
    """Not of passive ones, as what is for them is dropped anyway. Raises KernelError."""
    ranges, role = with_ranges(store, Change()), store.role()
    expected = {
        service: [Key(service.fwmark, v) for v in VERSIONS if (service.name, v) in ranges]
        for service in services
        if service.accepted_only and role.of(service.name) == "active"
    }
    try:
        present = ipvs.services([key for keys in expected.values() for key in keys])
    except Missing:
        lacks = timeouts.absent()
        names = ", ".join(service.name for service in expected)
        yield Unbalanced(
            f"VIPs of {names} are balanced by nothing: {lacks.message}", str(lacks.hint)
        )
        return
    for service, keys in expected.items():
        if absent := " and ".join(f"IPv{key.version}" for key in keys if key not in present):
            says = f"IPVS has no {absent} service of fwmark {service.fwmark:#x}"
            yield Unbalanced(f"VIPs of {service.name} are balanced by nothing: {says}", OF_OTHERS)


def told(store: Store, services: Iterable[Service]) -> list[str]:
    return [f"{one.says}; {one.hint}" for one in found(store, services)]
