"""What is counted of services: addresses in the store, packets in the kernel. No range is read."""

from collections.abc import Iterable, Mapping
from contextlib import suppress

from vipctl import methods
from vipctl.addresses.few import BITS
from vipctl.errors import Missing
from vipctl.linux import ipvs
from vipctl.linux.ipvs.messages import Key, Seen
from vipctl.operate.outcome import Report
from vipctl.services.service import Service
from vipctl.state.store import Store

NONE: Report = {"prefixes": 0, "addresses": 0}


def sizes(store: Store) -> dict[str, Report]:
    """By service that has any."""
    found: dict[str, Report] = {}
    for name, shape, count in store.tallies():
        size = found.setdefault(name, dict(NONE))
        size["prefixes"] += count
        size["addresses"] += count << (BITS[shape.version] - shape.length)
    return found


def seen(services: Iterable[Service]) -> dict[Key, Seen] | None:
    """What IPVS has of them; None where there is no IPVS."""
    try:
        return ipvs.look(key.mark for key in ipvs.desired(services))
    except Missing:
        return None


def by_ipvs(seen: Mapping[Key, Seen]) -> dict[int, Report]:
    """By mark and IP version: of the service, and of its real servers."""
    report: dict[int, Report] = {}
    for key, one in seen.items():
        total, reals = one.counters()
        report.setdefault(key.mark, {})[f"ipv{key.version}"] = total._asdict() | {
            "reals": {endpoint: counters._asdict() for endpoint, counters in reals.items()}
        }
    return report


def by_methods(services: Iterable[Service]) -> dict[str, Report]:
    """The packets that methods count, by service."""
    counting = [service for service in services if service.features.counters]
    found: dict[str, Mapping[int, Report]] = {}
    for method in {service.method for service in counting}:
        with suppress(Missing):
            found[method] = methods.counters(method)
    return {
        s.name: found[s.method][s.fwmark] for s in counting if s.fwmark in found.get(s.method, {})
    }
