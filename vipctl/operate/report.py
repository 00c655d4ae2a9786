"""Use cases that only look: each returns what `--json` prints, and changes nothing."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from vipctl import methods
from vipctl.addresses.few import BITS
from vipctl.errors import Missing, Refused, VipctlError
from vipctl.files import Where
from vipctl.linux import ipvs, sysctl
from vipctl.operate import arrival, asked
from vipctl.operate.changing import refuse_foreign_state
from vipctl.operate.outcome import Report
from vipctl.reconcile import healing, lacking
from vipctl.services.change import Change, Shape, all_of
from vipctl.services.service import Service, plain
from vipctl.state.store import Store


class Reporter(NamedTuple):
    """One state directory and the network namespace of the calling thread."""

    state_dir: Where

    def ranges(self, name: str | None, *, most: int) -> Report:
        """All ranges; or, if there are more than `most`, how many of each length."""
        with Store.read(self.state_dir) as store:
            names = _names(store, name)
            counts = [found for found in store.tallies() if found[0] in names]
            if sum(number for _, _, number in counts) > most:
                return {"summary": _summary(counts)} | _pending(store)
            return {"ranges": list(_listed(store, names))} | _pending(store)

    def listing(self, name: str | None) -> Iterator[str]:
        """All ranges, as JSON in pieces."""
        from vipctl.operate import pieces

        with Store.read(self.state_dir) as store:
            names = _names(store, name)
            held = any(found[0] in names for found in store.tallies())
            form = {"changed": False, "ranges": [pieces.HERE] * held} | _pending(store)
            listed = (
                f'{{"service": "{found["service"]}", "range": "{found["range"]}"}}'
                for found in _listed(store, names)
            )
            yield from pieces.of(form, [listed] * held)

    def services(self) -> Report:
        with Store.read(self.state_dir) as store:
            sizes = _sizes(store)
            listed = {
                name: plain(service) | sizes.get(name, _no_size())
                for name, service in store.services().items()
            }
            return {"services": listed} | _pending(store)

    def export(self, *, as_json: bool) -> Iterator[str]:
        """The state as YAML, or the same structure as JSON, in pieces."""
        from vipctl.operate import document

        with Store.read(self.state_dir) as store:
            held = [(s, all_of(store.held(s.name))) for s in store.services().values()]
            director = store.director()
        if as_json:
            return document.in_json({"changed": False}, held, director)
        return document.dump(held, director)

    def status(self) -> Report:
        with Store.read(self.state_dir) as store:
            refuse_foreign_state(store, adopt=False)
            services, sizes = store.services(), _sizes(store)
            kernel, problems = _kernel(store)
            in_kernel, packets = _counters(services.values()), _packets(services.values())
            listed = {
                name: plain(service)
                | sizes.get(name, _no_size())
                | ({"ipvs": in_kernel[service.fwmark]} if service.fwmark in in_kernel else {})
                | ({service.method: packets[name]} if name in packets else {})
                for name, service in services.items()
            }
            return {
                "kernel": kernel,
                "problems": problems,
                "services": listed,
                "methods": _methods({service.method for service in services.values()}),
                "sysctls": _sysctls(services.values(), lacking.chosen(store)),
                "findings": list(arrival.findings(store, Change())),
            } | _pending(store)


def _names(store: Store, name: str | None) -> set[str]:
    """One name, or all names if it is None. Raises Refused if there is no such service."""
    services = store.services()
    return set(services) if name is None else {asked.known(services, name).name}


def _listed(store: Store, names: Iterable[str]) -> Iterator[dict[str, str]]:
    for name in sorted(names):
        for prefix in all_of(store.held(name)).prefixes():
            yield {"service": name, "range": prefix}


def _summary(counts: Iterable[tuple[str, Shape, int]]) -> list[Report]:
    """The number of prefixes by service, IP version and length."""
    found: dict[tuple[str, int, int], int] = {}
    for name, shape, number in counts:
        key = name, shape.version, shape.length
        found[key] = found.get(key, 0) + number
    return [
        {"service": name, "version": version, "length": length, "prefixes": number}
        for (name, version, length), number in sorted(found.items())
    ]


def _kernel(store: Store) -> tuple[str, list[str]]:
    """Whether the kernel is as stored, and what the director cannot have of that."""
    try:
        found = healing.look(store)
        healing.foresee(store, found)
        if found.differs():
            healing.refuse_taken_over(store)
    except Refused as e:
        return f"differs: {e.message}", []
    except VipctlError as e:
        return f"unknown: {e.message}", []
    problems = [str(problem) for problem in found.lacking.problems(store)]
    return "differs" if found.differs() or problems else "as stored", problems


def _methods(used: set[str]) -> dict[str, Report]:
    """Whether this director can use each method, best first, with notes on those in use."""
    found: dict[str, Report] = {}
    for name in methods.NAMES:
        try:
            notes = methods.get(name).probe()
            found[name] = {"usable": True, "notes": list(notes) if name in used else []}
        except Missing as e:
            found[name] = {"usable": False, "notes": [f"{e.message}; {e.hint}"]}
    return found


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


def _packets(services: Iterable[Service]) -> dict[str, Report]:
    """The packets that methods count, by service."""
    counting = [service for service in services if service.features.counters]
    found: dict[str, Mapping[int, Report]] = {}
    for method in {service.method for service in counting}:
        with suppress(Missing):
            found[method] = methods.counters(method)
    return {
        s.name: found[s.method][s.fwmark] for s in counting if s.fwmark in found.get(s.method, {})
    }


def _sysctls(services: Iterable[Service], chosen: dict[str, str]) -> dict[str, Report]:
    """The sysctls that services need, or set-director has set, and whether they are so."""
    known = list(services)
    wanted = sysctl.needed(known) | chosen
    missed = sysctl.missed(wanted, known)
    return {
        n: {"value": sysctl.read(n), "needed": value, "ok": n not in missed}
        for n, value in wanted.items()
    }


def _pending(store: Store) -> Report:
    return {"pending": store.intent() is not None}
