"""Random operations, and what they make of the model: the same ones for the same seed."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.stress.soak import world
from tests.stress.soak.intervals import Spans, minus, points, tidy
from tests.stress.soak.model import (
    LEFTOVERS,
    METHODS,
    MOODY,
    PASSING,
    PORTS,
    STEADY,
    Model,
    Service,
    name_of,
)
from tests.stress.soak.operation import Operation
from tests.stress.soak.world import World

MOST = 12_000  # ranges; with more of them, much is removed
FILES = (300, 1_000, 2_500)  # ranges of a file
KEPT = 500  # ranges that an `apply` keeps, and as many that it brings
WEIGHTS = {
    "add": 24,
    "add file": 5,
    "remove": 20,
    "remove file": 4,
    "remove much": 3,
    "apply": 4,
    "restore": 3,
    "switch method": 8,
    "set": 6,
    "refused": 4,
    "repeat": 3,
    "check": 3,
    "end": 3,
}


class Dice:
    """Operations that fit a model, one after another."""

    def __init__(self, seed: str, known: World, directory: Path) -> None:
        self.random, self.world = random.Random(seed), known
        self.file, self.state = directory / "ranges", directory / "state.yaml"
        self.cores = known.core()
        self._rolls: dict[str, Callable[[Model], Operation]] = {
            "add": lambda model: self._add("add", model, self._spans(model)),
            "add file": lambda model: self._add("add file", model, self._many(self._most())),
            "remove": lambda model: self._remove("remove", model, self._spans(model)),
            "remove file": self._remove_file,
            "remove much": self._remove_much,
            "apply": self._apply,
            "restore": lambda model: Operation("restore", ("restore",), model, model),
            "switch method": self._switch,
            "set": self._set,
            "refused": self._refused,
            "repeat": self._repeat,
            "check": self._check,
            "end": self._end,
        }

    def roll(self, model: Model, kind: str = "") -> Operation:
        """Return any operation, or one of a kind."""
        if not kind and model.ranges() > MOST:
            kind = "remove much"
        (any_kind,) = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))
        return self._rolls[kind or any_kind](model)

    def _spans(self, model: Model) -> Spans:
        edges = [edge for s in model.services.values() for edge in self._some(s.held)]
        near = self.random.choice((edges, self.world.reserved))
        return tidy(world.span(self.random, near) for _ in range(self.random.randint(1, 4)))

    def _some(self, held: Spans) -> list[int]:
        return [edge for interval in self.random.choices(held, k=3) for edge in interval]

    def _most(self) -> int:
        return self.random.choice(FILES)

    def _many(self, number: int) -> Spans:
        """So many anywhere, and one over or beside each that a flow goes to."""
        beside = [world.span(self.random, [core], sure=True) for core in self.world.reserved]
        return tidy([*world.short_spans(self.random, number), *beside])

    def _free(self, model: Model, mark: int, spans: Spans) -> Spans:
        """Leave out what a service may not have."""
        others = tidy([*model.held(mark), *points(self.world.nevers)])
        return minus(minus(spans, others), minus(self.cores, self.world.core(mark)))

    def _words(self, kind: str, spans: Spans) -> list[str]:
        words = world.written(self.random, spans)
        if "file" not in kind and len(words) < 40:
            return words
        self.random.shuffle(words)
        self.file.write_text("# a soak's\n" + "\n".join(words) + "\n")
        return [f"@{self.file}"]

    def _add(self, kind: str, model: Model, spans: Spans) -> Operation:
        mark = self.random.choice((*STEADY, *MOODY, *PASSING))
        cores = [address for address, owner in self.world.cores.items() if owner == mark]
        over = [world.span(self.random, cores) for _ in cores]
        asked = self._free(model, mark, tidy([*spans, *over]))
        if not asked:
            return self._remove(kind, model, spans)
        words = ["add-range", *self._words(kind, asked), "--fwmark", str(mark)]
        begun = model
        if mark not in model.services:
            method = self.random.choice(METHODS)
            words += ["--method", method]
            begun = model.with_service(mark, Service(method))
        after = begun.added(mark, asked)
        return Operation(kind, tuple(words), model, after, asked, sized=True)

    def _remove(self, kind: str, model: Model, spans: Spans) -> Operation:
        asked = minus(spans, self.cores)
        if not asked:
            return Operation("restore", ("restore",), model, model)
        mark = self.random.choice((*STEADY, *MOODY, *PASSING))
        named = self.random.random() < 0.2
        words = ["remove-range", *self._words(kind, asked)]
        words += ["--service", name_of(mark)] if named else []
        after = model.removed(asked, mark) if named else model.removed(asked)
        return Operation(kind, tuple(words), model, after, asked, sized=True)

    def _remove_file(self, model: Model) -> Operation:
        held = model.held()
        some = self.random.sample(held, len(held) // 3)
        return self._remove("remove file", model, tidy([*some, *self._many(100)]))

    def _remove_much(self, model: Model) -> Operation:
        """Half of each IP version's universe, or a quarter of it."""
        halves = [n for net in world.UNIVERSE.values() for n in net.subnets(1 + _coin(self.random))]
        net = self.random.choice(halves)
        much = ((int(net.network_address), int(net.broadcast_address)),)
        return self._remove("remove much", model, much)

    def _refused(self, model: Model) -> Operation:
        """What another service holds, and some that nobody does."""
        marks = [*STEADY, *MOODY]
        mark, other = self.random.sample(marks, 2)
        held = self.random.choice(model.services[other].held)
        asked = tidy([held, *self._free(model, mark, self._spans(model))])
        words = "add-range", *self._words("refused", asked), "--fwmark", str(mark)
        return Operation("refused", words, model, model, asked, code=3)

    def _repeat(self, model: Model) -> Operation:
        """Again, what is so already."""
        mark = self.random.choice(list(model.services))
        held = tidy(self.random.choices(model.services[mark].held, k=3))
        words = "add-range", *self._words("repeat", held), "--fwmark", str(mark)
        return Operation("repeat", words, model, model, held)

    def _check(self, model: Model) -> Operation:
        """Something else, with --check."""
        kind = self.random.choice([kind for kind in WEIGHTS if kind != "check"])
        checked = self._rolls[kind](model)
        words = "--check", *checked.words
        return replace(checked, kind="check", words=words, only_checked=True)

    def _end(self, model: Model) -> Operation:
        mark = self.random.choice(PASSING)
        asked = model.services[mark].held if mark in model.services else ()
        words = "remove-service", name_of(mark)
        return Operation("end", words, model, model.removed(asked, mark), asked)

    def _switch(self, model: Model) -> Operation:
        mark = self.random.choice([mark for mark in model.services if mark not in STEADY])
        method = self.random.choice(METHODS)
        after = model.with_service(mark, replace(model.services[mark], method=method))
        words = "set-service", name_of(mark), "--method", method
        return Operation("switch method", words, model, after, model.services[mark].held)

    def _set(self, model: Model) -> Operation:
        mark = self.random.choice(list(model.services))
        ports, leftover = self.random.choice(PORTS), self.random.choice(LEFTOVERS)
        words = [word for port in ports or ("all",) for word in ("--port", port)]
        after = replace(model.services[mark], ports=ports, leftover=leftover)
        command = "set-service", name_of(mark), "--leftover", leftover, *words
        return Operation(
            "set", command, model, model.with_service(mark, after), model.services[mark].held
        )

    def applied(self, before: Model, after: Model) -> Operation:
        """Return the `apply` of a whole state."""
        self.state.write_text(json.dumps({"services": _form(self.random, after)}))
        return Operation("apply", ("apply", str(self.state)), before, after)

    def _apply(self, model: Model) -> Operation:
        return self.applied(model, self._other(model))

    def _other(self, model: Model) -> Model:
        """Some of what there is, part of it in other hands, and something new."""
        held: dict[int, list[tuple[int, int]]] = {m: [] for m in (*STEADY, *MOODY, *PASSING)}
        present = [(m, i) for m, service in model.services.items() for i in service.held]
        kept = self.random.sample(present, min(KEPT, len(present) * 2 // 3))
        fresh = world.short_spans(self.random, self.random.randint(0, KEPT))
        for mark, interval in (*kept, *((0, interval) for interval in fresh)):
            stays = mark and self.random.random() < 0.8
            held[mark if stays else self.random.choice(list(held))].append(interval)
        return self._disjoint(model, held)

    def _disjoint(self, model: Model, held: dict[int, list[tuple[int, int]]]) -> Model:
        after = Model()
        for mark, intervals in held.items():
            service = self._changed(mark, model.services.get(mark))
            spans = self._free(after, mark, tidy(intervals))
            spans = tidy([*spans, *self.world.core(mark)]) if mark not in PASSING else spans
            after = after.with_service(mark, replace(service, held=spans)) if spans else after
        return after

    def _changed(self, mark: int, service: Service | None) -> Service:
        """What a service is after an `apply`: its method may be another."""
        if service and (mark in STEADY or self.random.random() < 0.6):
            return service
        return replace(service or Service(""), method=self.random.choice(METHODS))


def _coin(dice: random.Random) -> int:
    return dice.randint(0, 1)


def _form(dice: random.Random, model: Model) -> dict[str, dict[str, object]]:
    return {
        name_of(mark): {
            "method": service.method,
            "ports": list(service.ports),
            "leftover": service.leftover,
            "ranges": world.written(dice, service.held),
        }
        for mark, service in model.services.items()
    }
