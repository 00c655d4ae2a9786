"""Use cases of looking: each returns what `--json` prints. Nothing here changes anything."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vipctl import ipvs, syntax, sysctl, transaction
from vipctl.controller import Outcome, refuse_foreign_state
from vipctl.errors import Missing, Refused, VipctlError
from vipctl.model import Held, Service
from vipctl.prefixes import BITS, AddressSet, from_spans
from vipctl.store import Store

Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reporter:
    """One state directory and the network namespace of the calling thread."""

    state_dir: Path

    def ranges(self, name: str | None) -> Report:
        with Store.read(self.state_dir) as store:
            services = store.services()
            if name is not None and name not in services:
                raise Refused(f"there is no service {name!r}", hint="vipctl list-services")
            names = sorted(services) if name is None else [name]
            return {
                "ranges": [
                    {"service": n, "range": str(prefix)}
                    for n in names
                    for prefix in _addresses(store.held(n)).prefixes()
                ],
            } | _pending(store)

    def services(self) -> Report:
        with Store.read(self.state_dir) as store:
            sizes = _sizes(store)
            listed = {
                name: syntax.plain(service) | sizes.get(name, _no_size())
                for name, service in store.services().items()
            }
            return {"services": listed} | _pending(store)

    def export(self) -> tuple[str, Report]:
        """The state as YAML and as the same structure."""
        from vipctl import document

        with Store.read(self.state_dir) as store:
            held = [(s, _addresses(store.held(s.name))) for s in store.services().values()]
        return document.dump(held), document.form(held)

    def status(self) -> Report:
        with Store.read(self.state_dir) as store:
            refuse_foreign_state(store, adopt=False)
            services, sizes = store.services(), _sizes(store)
            in_kernel = _counters(services.values())
            listed = {
                name: syntax.plain(service)
                | sizes.get(name, _no_size())
                | ({"ipvs": in_kernel[service.fwmark]} if service.fwmark in in_kernel else {})
                for name, service in services.items()
            }
            return {
                "kernel": _kernel(store),
                "services": listed,
                "sysctls": _sysctls(services.values()),
            } | _pending(store)


def _kernel(store: Store) -> str:
    try:
        return "differs" if transaction.drifted(store) else "as stored"
    except VipctlError as e:
        return f"unknown: {e.message}"


def outcome(done: Outcome, *, check: bool, diff: bool) -> Report:
    """What `--json` prints of a changing command."""
    report: Report = {
        "changed": done.changed,
        "check": check,
        "restored": done.restored,
        "services": {s.name: syntax.plain(s) for s in done.change.after},
        "removed_services": sorted(
            {s.name for s in done.change.before} - {s.name for s in done.change.after}
        ),
        "added": _size(done.change.gained()),
        "removed": _size(done.change.lost()),
        "warnings": list(done.warnings),
    }
    if diff:
        before, after = difference(done)
        report["diff"] = {"before": before, "after": after}
    return report


def difference(done: Outcome) -> tuple[str, str]:
    """The parts that change, as YAML: (before, after)."""
    from vipctl import document

    change = done.change
    return (
        document.dump((s, _of(s, change.released)) for s in change.before),
        document.dump((s, _of(s, change.taken)) for s in change.after),
    )


def _of(service: Service, held: Iterable[Held]) -> AddressSet:
    return _addresses(h for h in held if h.service == service.name)


def _addresses(held: Iterable[Held]) -> AddressSet:
    return from_spans((h.version, h.span) for h in held)


def _size(addresses: AddressSet) -> Report:
    return {"prefixes": sum(1 for _ in addresses.prefixes()), "addresses": addresses.size()}


def _no_size() -> Report:
    return {"prefixes": 0, "addresses": 0}


def _sizes(store: Store) -> dict[str, Report]:
    """Counted from the tallies, without reading a range."""
    sizes: dict[str, Report] = {}
    for name, shape, count in store.tallies():
        size = sizes.setdefault(name, _no_size())
        size["prefixes"] += count
        size["addresses"] += count << (BITS[shape.version] - shape.length)
    return sizes


def _counters(services: Iterable[Service]) -> dict[int, Report]:
    marks = {key.mark for key in ipvs.desired(services)}
    try:
        found = ipvs.counters(marks) if marks else {}
    except Missing:
        return {}
    report: dict[int, Report] = {}
    for key, (total, reals) in found.items():
        report.setdefault(key.mark, {})[f"ipv{key.version}"] = total._asdict() | {
            "reals": {endpoint: counters._asdict() for endpoint, counters in reals.items()}
        }
    return report


def _sysctls(services: Iterable[Service]) -> dict[str, Report]:
    wanted = sysctl.needed(services)
    return {n: {"value": sysctl.read(n), "needed": value} for n, value in wanted.items()}


def _pending(store: Store) -> Report:
    return {"pending": store.intent() is not None}
