"""What directors of the same services must have alike, a digest of it, and differences. Pure.

Options that are `local` may differ, and so may those of a single method: how a director accepts
packets is its own affair.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from vipctl import digests
from vipctl.addresses.prefixes import VERSIONS, AddressSet
from vipctl.services import director as settings
from vipctl.services.director import DEFAULT, Director
from vipctl.services.options import OPTIONS
from vipctl.services.service import Service, plain

Form = Mapping[str, Any]
MOST_NAMED = 3  # ranges
USUAL = plain(Service("", 1))


class Side(NamedTuple):
    """One director: settings and services as they are written, and digests of their ranges.

    `held` has the ranges themselves, where these are known. `sync` is the id of the connection
    sync, or "no"; "" if it is not known.
    """

    director: Form
    services: Mapping[str, Form]
    ranges: Mapping[str, str]
    held: Mapping[str, AddressSet]
    sync: str = ""

    def digest(self) -> str:
        return digests.of(json.dumps([*self[:3], self.sync], sort_keys=True))


def of(director: Director, held: Mapping[str, tuple[Service, AddressSet]]) -> Side:
    return Side(
        settings.plain(director),
        {name: shared(service) for name, (service, _) in held.items()},
        {name: of_ranges(addresses) for name, (_, addresses) in held.items()},
        {name: addresses for name, (_, addresses) in held.items()},
    )


def shared(service: Service) -> dict[str, Any]:
    """Its options, without local ones and those that are as if nobody had named them."""
    return {
        name: value
        for name, value in plain(service).items()
        if name in OPTIONS and not OPTIONS[name].local and value != USUAL[name]
    }


def of_ranges(held: AddressSet) -> str:
    return digests.of(b"/".join(held.spans(version).data for version in VERSIONS))


def differences(here: Side, there: Side) -> Iterator[str]:
    """In words; of a director that is the same, none."""
    if here.sync and there.sync and here.sync != there.sync:
        yield f"the id of connection sync is {here.sync} here, {there.sync} there"
    for key in settings.SETTINGS:
        yield from _of_value("director", key, here.director, there.director, DEFAULT)
    for name in sorted({*here.services, *there.services}):
        if name not in there.services or name not in here.services:
            yield f"service {name} is only {'here' if name in here.services else 'there'}"
            continue
        yield from _of_options(name, here.services[name], there.services[name])
        if here.ranges[name] != there.ranges[name]:
            yield from _of_ranges(name, here, there)


def _of_options(name: str, here: Form, there: Form) -> Iterator[str]:
    for key in OPTIONS:
        if key == "reals":
            yield from _of_reals(name, here.get(key, []), there.get(key, []))
        else:
            yield from _of_value(name, key, here, there, _words(USUAL[key]))


def _of_value(whose: str, key: str, here: Form, there: Form, usual: str) -> Iterator[str]:
    values = [_words(side[key]) if key in side else usual for side in (here, there)]
    if values[0] != values[1]:
        yield f"{whose}: {key} is {values[0]} here, {values[1]} there"


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (" ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def _of_reals(name: str, here: list[str], there: list[str]) -> Iterator[str]:
    sides = [{text.partition(",")[0]: text for text in side} for side in (here, there)]
    for endpoint in dict.fromkeys((*sides[0], *sides[1])):
        found = [side.get(endpoint) for side in sides]
        if found[0] is None or found[1] is None:
            where = "there" if found[0] is None else "here"
            yield f"{name}: real server {endpoint} is only {where}"
        elif found[0] != found[1]:
            yield f"{name}: real server {found[0]} here is {found[1]} there"


def _of_ranges(name: str, here: Side, there: Side) -> Iterator[str]:
    if not (name in here.held and name in there.held):
        yield f"{name}: the ranges differ (an export of the other director tells which)"
        return
    for where, some, others in (("here", here, there), ("there", there, here)):
        if rest := _without(some.held[name], others.held[name]):
            yield f"{name}: {_named(rest)} only {where}"


def _without(some: AddressSet, others: AddressSet) -> AddressSet:
    return AddressSet(*(some.spans(v) - others.spans(v) for v in VERSIONS))


def _named(found: AddressSet) -> str:
    named = [text for _, text in zip(range(MOST_NAMED), found.prefixes(), strict=False)]
    more = found.count() - len(named)
    return " ".join(named) + (f" and {more:,} more" if more else "")
