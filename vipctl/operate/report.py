"""Use cases that only look: each returns what `--json` prints, and changes nothing."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vipctl import methods
from vipctl.errors import Missing
from vipctl.files import Where
from vipctl.linux import sysctl
from vipctl.operate import (
    arrival,
    asked,
    checking,
    comparing,
    counted,
    drift,
    filtering,
    judged,
    peers,
    translation,
    unbalanced,
)
from vipctl.operate.changing import refuse_foreign_state
from vipctl.operate.outcome import Report
from vipctl.operate.printed import looked
from vipctl.reconcile import lacking
from vipctl.services.change import Change, Shape, all_of
from vipctl.services.naming import naturally
from vipctl.services.role import word
from vipctl.services.service import Service, plain
from vipctl.state import runtime
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
            form = looked({"ranges": [pieces.HERE] * held} | _pending(store))
            listed = (
                f'{{"service": "{found["service"]}", "range": "{found["range"]}"}}'
                for found in _listed(store, names)
            )
            yield from pieces.of(form, [listed] * held)

    def services(self) -> Report:
        with Store.read(self.state_dir) as store:
            sizes, role = counted.sizes(store), store.role()
            listed = {
                name: plain(service) | {"role": role.of(name)} | sizes.get(name, counted.NONE)
                for name, service in chosen(store, ()).items()
            }
            return {"role": word(passive=role.passive), "services": listed} | _pending(store)

    def export(self, *, as_json: bool) -> Iterator[str]:
        """The state as YAML, or the same structure as JSON, in pieces."""
        from vipctl.operate import document

        with Store.read(self.state_dir) as store:
            held = [(s, all_of(store.held(s.name))) for s in store.services().values()]
            director = store.director()
        if as_json:
            return document.in_json(looked({}), held, director)
        return document.dump(held, director)

    def status(self, names: Iterable[str] = ()) -> Report:
        """Of these services and the director; of all services if none is named."""
        with Store.read(self.state_dir) as store:
            refuse_foreign_state(store, adopt=False)
            services, sizes = chosen(store, names), counted.sizes(store)
            seen = counted.seen(services.values())
            found = drift.of(store, seen, services)
            in_kernel, packets = counted.by_ipvs(seen or {}), counted.by_methods(services.values())
            translated = translation.used(services.values(), in_kernel)
            said, side, role = store.verdicts(), comparing.here(store), store.role()
            listed = {
                name: plain(service)
                | {"role": role.of(name)}
                | sizes.get(name, counted.NONE)
                | {"ranges_digest": side.ranges[name]}
                | ({"source_ports": translated[name]} if name in translated else {})
                | ({"health": judged.of_service(service, said)} if service.watched else {})
                | ({"ipvs": in_kernel[service.fwmark]} if service.fwmark in in_kernel else {})
                | ({"packets": packets[name]} if name in packets else {})
                for name, service in services.items()
            }
            return {
                "kernel": found.kernel,
                "differences": [one._asdict() for one in found.differences],
                "problems": list(found.problems),
                "digest": side.digest(),
                "director": dict(side.director),
                "sync": peers.seen(store),
                "relay": runtime.about(runtime.SYNC, self.state_dir),
                "role": word(passive=role.passive),
                "services": listed,
                "methods": _methods({service.method for service in services.values()}),
                "sysctls": _sysctls(services.values(), lacking.chosen(store)),
                "unbalanced": unbalanced.told(store, services.values()),
                "findings": [
                    *(words for s in services.values() for words in judged.troubles(s, said)),
                    *arrival.findings(store, Change()),
                    *filtering.findings(store, Change(), services.values()),
                    *translation.warnings(translated),
                    *(words for s in services.values() for words in checking.warnings(store, s)),
                    *peers.warnings(store),
                ],
                "watch": runtime.about(runtime.WATCH, self.state_dir),
            } | _pending(store)


def chosen(store: Store, names: Iterable[str]) -> dict[str, Service]:
    """The services with these names, or all, in natural order. Raises Refused."""
    known = store.services()
    chosen = {name: asked.known(known, name) for name in names} or known
    return {name: chosen[name] for name in sorted(chosen, key=naturally)}


def _names(store: Store, name: str | None) -> set[str]:
    """One name, or all names if it is None. Raises Refused if there is no such service."""
    services = store.services()
    return set(services) if name is None else {asked.known(services, name).name}


def _listed(store: Store, names: Iterable[str]) -> Iterator[dict[str, str]]:
    for name in sorted(names, key=naturally):
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
        for (name, version, length), number in sorted(
            found.items(), key=lambda one: (naturally(one[0][0]), one[0])
        )
    ]


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
