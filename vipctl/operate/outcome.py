"""What a changing command did: as `--json` prints it, in words, and as a difference."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from vipctl import methods
from vipctl.addresses.prefixes import AddressSet
from vipctl.addresses.spans import Spans
from vipctl.operate.changing import Outcome
from vipctl.services import sync
from vipctl.services.change import Change, Held, Place, all_of
from vipctl.services.director import DEFAULT, SETTINGS, Director
from vipctl.services.options import EVERY_OPTION
from vipctl.services.real import Settings
from vipctl.services.role import Role, word
from vipctl.services.service import Service, plain
from vipctl.services.sync import Sync

Report = dict[str, Any]
MOST_SHOWN = 1000  # ranges that a difference shows


def report(done: Outcome, *, check: bool, diff: bool) -> Report:
    """What `--json` prints of a changing command."""
    renamed = done.change.renamed()
    rest = done._replace(change=done.change.under_new_names())
    sizes, by_service = _sizes_of(rest.change), _by_service(rest.change)
    found: Report = {
        "changed": done.changed,
        "check": check,
        "restored": done.restored,
        "changes": [
            *(_told(f"service {old} is {new} now", new) for old, new in renamed.items()),
            *_changes(rest, by_service),
        ],
        "renamed": renamed,
        "services": {s.name: plain(s) for s in done.change.after},
        "removed_services": sorted(
            {s.name for s in rest.change.before} - {s.name for s in rest.change.after}
        ),
        **sizes,
        "by_service": by_service,
        "idle": done.idle,
        "warnings": list(done.warnings),
    }
    if diff:
        before, after = difference(done)
        found["diff"] = {"before": before, "after": after}
    return found


def _sizes_of(change: Change) -> dict[str, Report]:
    return {"added": _size(change.gained()), "removed": _size(change.lost())}


def _by_service(change: Change) -> dict[str, dict[str, Report]]:
    """What each service gains and loses, including what it gets from another service."""
    released, taken = _grouped(change.released), _grouped(change.taken)
    return {
        name: _sizes_of(Change(released=released.get(name, {}), taken=taken.get(name, {})))
        for name in sorted({*released, *taken})
    }


def _told(what: str, *services: str) -> Report:
    return {"what": what, "services": list(services)}


def _changes(done: Outcome, by_service: dict[str, dict[str, Report]]) -> Iterator[Report]:
    """The differences between before and after, in words, and which services each touches."""
    before = {s.name: s for s in done.change.before}
    after = {s.name: s for s in done.change.after}
    passed_over = cache(methods.passed_over)
    if done.restored:
        yield _told("kernel restored to the stored state")
    yield from (_told(f"director: {words}") for words in _settings(*done.change.director))
    if done.change.sync[0] != done.change.sync[1]:
        old, new = (str(one or "none") for one in done.change.sync)
        yield _told(f"connection sync: {old} → {new}")
    if not before:
        yield from _roles(*done.change.role)
    for name, sizes in by_service.items():
        whose = f"{name}: " if len(by_service) > 1 else ""
        for sign, size in sizes.items():
            if size["prefixes"]:
                yield _told(f"{whose}{sign} {_extent(size)}", name)
    for name, service in after.items():
        if name not in before:
            by = _by(service.method, passed_over(service.method))
            yield _told(f"service {name} created with fwmark {service.fwmark:#x}, {by}", name)
        else:
            unlike = _differences(before[name], service)
            yield from (_told(f"{name}: {words}", name) for words in unlike)
    yield from (_told(f"service {name} ended", name) for name in before if name not in after)


def _settings(old: Director, new: Director) -> Iterator[str]:
    for name in SETTINGS:
        if old.get(name) != new.get(name):
            yield f"{name} {old.get(name, DEFAULT)} → {new.get(name, DEFAULT)}"


def _roles(old: Role, new: Role) -> Iterator[Report]:
    if old.passive != new.passive:
        yield _told(f"this director is {word(passive=new.passive)}")
    for name in sorted(old.services ^ new.services):
        yield _told(f"service {name} is {word(passive=name in new.services)}", name)


def _by(method: str, better: dict[str, str]) -> str:
    why = "; ".join(f"{name} cannot be used: {reason}" for name, reason in better.items())
    return f"method {method}" + (f" ({why})" if why else "")


def _differences(before: Service, after: Service) -> Iterator[str]:
    old, new = plain(before), plain(after)
    for field in (old.keys() & new.keys()) - {"reals"}:
        if old[field] != new[field]:
            empty = EVERY_OPTION[field].empty
            yield f"{field} {_words(old[field], empty)} → {_words(new[field], empty)}"
    reals = {real.endpoint: real for real in before.reals}
    for real in after.reals:
        was = reals.pop(real.endpoint, None)
        if was is None:
            yield f"real server {real} added"
        elif was != real:
            yield f"real server {real.endpoint} {_changed(was.settings(), real.settings())}"
    yield from (f"real server {endpoint} removed" for endpoint in reals)


def _changed(old: Settings, new: Settings) -> str:
    """With a weight, `was` needs no words."""
    changed = [key for key in new if old[key] != new[key]]
    if "weight" in changed and "was" in changed:
        changed.remove("was")
    words = (f"{key} {old[key]} → {new[key]}" for key in changed)
    drained = " (drained)" if old["weight"] and not new["weight"] else ""
    return ", ".join(words) + drained


def _words(value: object, empty: str) -> str:
    return (" ".join(value) or empty) if isinstance(value, list) else str(value)


def _extent(size: Report) -> str:
    return f"{_count(size['addresses'], 'address')} in {_count(size['prefixes'], 'prefix')}"


def _count(number: int, noun: str) -> str:
    plural = "" if number == 1 else "es"
    return f"{large(number)} {noun}{plural}"


def large(number: int) -> str:
    """A number that fits a table: from 10^12 on as the power of two below, such as 2^64."""
    return f"{number:,}" if number < 10**12 else f"2^{number.bit_length() - 1}"


def difference(done: Outcome) -> tuple[str, str]:
    """The services that change, as YAML: (before, after); of many ranges, those that change."""
    change, stay = done.change, _grouped(done.stay)
    counts = {name: all_of(held).count() for name, held in stay.items()}
    unlisted = {name: count for name, count in counts.items() if count > MOST_SHOWN}
    kept = {name: held for name, held in stay.items() if name not in unlisted}
    old, new = map(_sync_shown, change.sync) if change.sync[0] != change.sync[1] else ("", "")
    return (
        old + _shown(change.director[0], change.before, _grouped(change.released), kept, unlisted),
        new + _shown(change.director[1], change.after, _grouped(change.taken), kept, unlisted),
    )


def _sync_shown(found: Sync | None) -> str:
    from vipctl.operate import notation

    return notation.to_yaml({"sync": sync.plain(found)}) if found else ""


def _shown(
    director: Director,
    services: Iterable[Service],
    part: Mapping[str, Held],
    kept: Mapping[str, Held],
    unlisted: Mapping[str, int],
) -> str:
    from vipctl.operate import document

    def held(name: str) -> AddressSet:
        both = [all_of(found.get(name, {})) for found in (part, kept)]
        return AddressSet(both[0].v4 | both[1].v4, both[0].v6 | both[1].v6)

    listed = ((service, held(service.name)) for service in services)
    return document.shown(listed, director=director, most=2 * MOST_SHOWN, unlisted=unlisted)


def _grouped(held: Held) -> dict[str, dict[Place, Spans]]:
    """By service."""
    found: dict[str, dict[Place, Spans]] = {}
    for place, spans in held.items():
        found.setdefault(place.service, {})[place] = spans
    return found


def _size(addresses: AddressSet) -> Report:
    return {"prefixes": addresses.count(), "addresses": addresses.size()}
