"""What vipctl says that it holds, and what the kernel accepts, against the model."""

import random
from collections.abc import Iterator
from typing import Any

from tests.harness.command import Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.harness.traffic import udp_send
from tests.netns import snapshot
from tests.netns.arrivals import settle
from tests.netns.iptables import saved
from tests.stress.soak.intervals import Spans, fewest_prefixes, read, size, text
from tests.stress.soak.model import PORT, Model, Service, name_of

INTERVALS = 25  # whose edges are probed after an operation
SHOWN = 8


def sample(dice: random.Random, touched: Spans, model: Model, reserved: set[int]) -> list[int]:
    """Return the edges of some ranges that were just changed, or not, and what is next to them."""
    held = [interval for s in model.services.values() for interval in dice.choices(s.held, k=1)]
    some = dice.sample(touched, min(INTERVALS, len(touched)))
    edges = {v for first, last in (*some, *held) for v in _around(dice, first, last)}
    return sorted(edges - reserved)


def _around(dice: random.Random, first: int, last: int) -> tuple[int, ...]:
    return first - 1, first, dice.randint(first, last), last, last + 1


def probe(net: Lab, counter: LocalInCounter, model: Model, values: list[int]) -> list[str]:
    """Send to each address; return those that are not accepted as the model has it."""
    before = counter.counts()
    udp_send(net.client, [text(value) for value in values], PORT)
    settle(net.client, counter)
    new = {key for key, n in counter.counts().items() if n > before.get(key, 0)}
    wanted = {(mark, text(value)) for value in values if (mark := model.mark_of(value))}
    known = {text(value) for value in values}
    came = {key for key in new if key[1] in known}
    return [
        *(f"{vip} is not accepted with mark {mark}" for mark, vip in sorted(wanted - came)),
        *(f"{vip} is accepted with mark {mark}" for mark, vip in sorted(came - wanted)),
    ][:SHOWN]


def compare(vipctl: Vipctl, model: Model) -> list[str]:
    """Return in what `export`, `list-ranges` and `status` are not as the model."""
    return [*_reports(vipctl, model), *_listing(vipctl, model)]


def _reports(vipctl: Vipctl, model: Model) -> Iterator[str]:
    exported, status = vipctl("export")["services"], vipctl("status")
    if status["kernel"] != "as stored" or status["pending"]:
        yield f"status: the kernel is {status['kernel']}, pending {status['pending']}"
    names = {name_of(mark) for mark in model.services}
    if not names == exported.keys() == status["services"].keys():
        yield f"services are {sorted(exported)}, {sorted(status['services'])}, not {sorted(names)}"
        return
    for mark, service in model.services.items():
        yield from _as_exported(mark, service, exported[name_of(mark)])
        yield from _as_sized(mark, service, status["services"][name_of(mark)])


def _as_exported(mark: int, service: Service, form: dict[str, Any]) -> Iterator[str]:
    if read(form["ranges"]) != service.held:
        yield f"export: other ranges of mark {mark}"
    found = form["fwmark"], form["method"], set(form["ports"]), form["leftover"]
    if found != (mark, service.method, set(service.ports), service.leftover):
        yield f"export: mark {mark} is {found}"


def _as_sized(mark: int, service: Service, form: dict[str, Any]) -> Iterator[str]:
    found = form["addresses"], form["prefixes"]
    wanted = size(service.held), fewest_prefixes(service.held)
    if found != wanted:
        yield f"status: mark {mark} has {found} addresses and prefixes, not {wanted}"


def _listing(vipctl: Vipctl, model: Model) -> Iterator[str]:
    listed: dict[str, list[str]] = {}
    for line in vipctl("list-ranges")["ranges"]:
        listed.setdefault(line["service"], []).append(line["range"])
    if {name: read(words) for name, words in listed.items()} != {
        name_of(mark): service.held for mark, service in model.services.items()
    }:
        yield "list-ranges: other ranges"
    shortest = sum(fewest_prefixes(service.held) for service in model.services.values())
    if sum(map(len, listed.values())) != shortest:
        yield "list-ranges: not the shortest list"


def everything(net: Lab) -> list[str]:
    """Return all that the kernel has on the director that vipctl could leave behind."""
    ours = (line for line in saved(net.director).splitlines() if "vipctl" in line.lower())
    return [
        line for text in snapshot.kernel(net.director).values() for line in text.split("\n")
    ] + [*ours]
