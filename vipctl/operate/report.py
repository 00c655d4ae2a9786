"""Use cases of looking: each returns what `--json` prints. Nothing here changes anything."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

from vipctl import methods
from vipctl.addresses.few import BITS
from vipctl.addresses.prefixes import AddressSet
from vipctl.addresses.spans import Spans
from vipctl.errors import Missing, Refused, VipctlError
from vipctl.files import Where
from vipctl.linux import ipvs, sysctl
from vipctl.operate import arrival
from vipctl.operate.controller import Outcome, refuse_foreign_state
from vipctl.reconcile import healing
from vipctl.services.change import Change, Held, Place, Shape, joined
from vipctl.services.real import Settings
from vipctl.services.service import Service, plain
from vipctl.state.store import Store

Report = dict[str, Any]
MANY = 1000  # ranges that a difference shows


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
            held = [(s, _addresses(store.held(s.name))) for s in store.services().values()]
        return document.in_json({"changed": False}, held) if as_json else document.dump(held)

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
                "sysctls": _sysctls(services.values()),
                "findings": list(arrival.findings(store, Change())),
            } | _pending(store)


def _names(store: Store, name: str | None) -> set[str]:
    """Of one service, or of all. Raises Refused."""
    services = store.services()
    if name is not None and name not in services:
        raise Refused(f"there is no service {name!r}", hint="vipctl list-services")
    return set(services) if name is None else {name}


def _listed(store: Store, names: Iterable[str]) -> Iterator[dict[str, str]]:
    for name in sorted(names):
        for prefix in _addresses(store.held(name)).prefixes():
            yield {"service": name, "range": prefix}


def _summary(counts: Iterable[tuple[str, Shape, int]]) -> list[Report]:
    """By service, IP version and length."""
    found: dict[tuple[str, int, int], int] = {}
    for name, shape, number in counts:
        key = name, shape.version, shape.length
        found[key] = found.get(key, 0) + number
    return [
        {"service": name, "version": version, "length": length, "prefixes": number}
        for (name, version, length), number in sorted(found.items())
    ]


def _kernel(store: Store) -> tuple[str, list[str]]:
    """How it is, and what the director cannot have of what is stored."""
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
    """Whether this director can use each, best first, and what is to be known of those in use."""
    found: dict[str, Report] = {}
    for name in methods.NAMES:
        try:
            notes = methods.get(name).probe()
            found[name] = {"usable": True, "notes": list(notes) if name in used else []}
        except Missing as e:
            found[name] = {"usable": False, "notes": [f"{e.message}; {e.hint}"]}
    return found


def outcome(done: Outcome, *, check: bool, diff: bool) -> Report:
    """What `--json` prints of a changing command."""
    sizes, by_service = _sizes_of(done.change), _by_service(done.change)
    report: Report = {
        "changed": done.changed,
        "check": check,
        "restored": done.restored,
        "changes": list(_changes(done, by_service)),
        "services": {s.name: plain(s) for s in done.change.after},
        "removed_services": sorted(
            {s.name for s in done.change.before} - {s.name for s in done.change.after}
        ),
        **sizes,
        "by_service": by_service,
        "warnings": list(done.warnings),
    }
    if diff:
        before, after = difference(done)
        report["diff"] = {"before": before, "after": after}
    return report


def _sizes_of(change: Change) -> dict[str, Report]:
    return {"added": _size(change.gained()), "removed": _size(change.lost())}


def _by_service(change: Change) -> dict[str, dict[str, Report]]:
    """What each gains and loses, from another service too: the director need not gain any."""
    released, taken = _grouped(change.released), _grouped(change.taken)
    return {
        name: _sizes_of(Change(released=released.get(name, {}), taken=taken.get(name, {})))
        for name in sorted({*released, *taken})
    }


def _changes(done: Outcome, by_service: dict[str, dict[str, Report]]) -> Iterator[str]:
    """What is different now, in words."""
    before = {s.name: s for s in done.change.before}
    after = {s.name: s for s in done.change.after}
    passed_over = cache(methods.passed_over)
    if done.restored:
        yield "kernel restored to the stored state"
    for name, sizes in by_service.items():
        whose = f"{name}: " if len(by_service) > 1 else ""
        for sign, size in sizes.items():
            if size["prefixes"]:
                yield f"{whose}{sign} {_extent(size)}"
    for name, service in after.items():
        if name not in before:
            by = _by(service.method, passed_over(service.method))
            yield f"service {name} created with fwmark {service.fwmark:#x}, {by}"
        else:
            yield from (f"{name}: {words}" for words in _differences(before[name], service))
    yield from (f"service {name} ended" for name in before if name not in after)


def _by(method: str, better: dict[str, str]) -> str:
    why = "; ".join(f"{name} cannot be used: {reason}" for name, reason in better.items())
    return f"method {method}" + (f" ({why})" if why else "")


def _differences(before: Service, after: Service) -> Iterator[str]:
    old, new = plain(before), plain(after)
    for field in (old.keys() & new.keys()) - {"reals"}:
        if old[field] != new[field]:
            yield f"{field} {_words(old[field])} → {_words(new[field])}"
    reals = {real.endpoint: real for real in before.reals}
    for real in after.reals:
        was = reals.pop(real.endpoint, None)
        if was is None:
            yield f"real server {real} added"
        elif was != real:
            yield f"real server {real.endpoint} {_changed(was.settings(), real.settings())}"
    yield from (f"real server {endpoint} removed" for endpoint in reals)


def _changed(old: Settings, new: Settings) -> str:
    words = (f"{key} {old[key]} → {new[key]}" for key in new if old[key] != new[key])
    drained = " (drained)" if old["weight"] and not new["weight"] else ""
    return ", ".join(words) + drained


def _words(value: object) -> str:
    return (" ".join(value) or "all") if isinstance(value, list) else str(value)


def _extent(size: Report) -> str:
    return f"{_count(size['addresses'], 'address')} in {_count(size['prefixes'], 'prefix')}"


def _count(number: int, noun: str) -> str:
    plural = "" if number == 1 else "es"
    return f"{large(number)} {noun}{plural}"


def large(number: int) -> str:
    """A number that fits a table: 2^64 says more than its twenty digits."""
    return f"{number:,}" if number < 10**12 else f"2^{number.bit_length() - 1}"


def difference(done: Outcome) -> tuple[str, str]:
    """The services that change, as YAML: (before, after); of many ranges, those that change."""
    change, stay = done.change, _grouped(done.stay)
    counts = {name: _addresses(held).count() for name, held in stay.items()}
    unlisted = {name: count for name, count in counts.items() if count > MANY}
    kept = {name: held for name, held in stay.items() if name not in unlisted}
    return (
        _shown(change.before, _grouped(change.released), kept, unlisted),
        _shown(change.after, _grouped(change.taken), kept, unlisted),
    )


def _shown(
    services: Iterable[Service],
    part: Mapping[str, Held],
    kept: Mapping[str, Held],
    unlisted: Mapping[str, int],
) -> str:
    from vipctl.operate import document

    def held(name: str) -> AddressSet:
        both = [_addresses(found.get(name, {})) for found in (part, kept)]
        return AddressSet(both[0].v4 | both[1].v4, both[0].v6 | both[1].v6)

    listed = ((service, held(service.name)) for service in services)
    return document.shown(listed, most=2 * MANY, unlisted=unlisted)


def _grouped(held: Held) -> dict[str, dict[Place, Spans]]:
    """By service."""
    found: dict[str, dict[Place, Spans]] = {}
    for place, spans in held.items():
        found.setdefault(place.service, {})[place] = spans
    return found


def _addresses(held: Held) -> AddressSet:
    return AddressSet(joined(held, 4), joined(held, 6))


def _size(addresses: AddressSet) -> Report:
    return {"prefixes": addresses.count(), "addresses": addresses.size()}


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
    """What methods count, of each of their services."""
    counting = [service for service in services if service.features.counters]
    found: dict[str, Mapping[int, Report]] = {}
    for method in {service.method for service in counting}:
        with suppress(Missing):
            found[method] = methods.counters(method)
    return {
        s.name: found[s.method][s.fwmark] for s in counting if s.fwmark in found.get(s.method, {})
    }


def _sysctls(services: Iterable[Service]) -> dict[str, Report]:
    wanted = sysctl.needed(services)
    missed = sysctl.missed(wanted)
    return {
        n: {"value": sysctl.read(n), "needed": value, "ok": n not in missed}
        for n, value in wanted.items()
    }


def _pending(store: Store) -> Report:
    return {"pending": store.intent() is not None}
