"""Random changes of what the director holds: one, many at once, or the whole set."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace

from tests.harness.netns import Namespace
from tests.stress.shim.history import History
from tests.stress.shim.tally import Tally
from tests.stress.shim.universe import (
    CORE,
    LEFTOVERS,
    MOODY,
    OUTSIDE,
    PORTS,
    SHARED,
    STEADY,
    Slot,
    State,
    service,
)
from vipctl.methods import shim as method
from vipctl.services import batch
from vipctl.services.service import Service

INNER = range(CORE.stop, OUTSIDE.start)  # slots that come and go
LONGEST = 40  # slots that one change is about
VERSIONS = ((4, 6), (4, 6), (4,), (6,), ())


class Director:
    """The host, what it holds, and the dice for what it will hold."""

    def __init__(self, host: Namespace, history: History, tally: Tally, seed: str) -> None:
        self.host, self.history, self.tally = host, history, tally
        self.random = random.Random(seed)
        self.kinds: dict[str, tuple[int, Callable[[State], State]]] = {
            "additions": (6, self._more),
            "removals": (5, self._less),
            "settings changed": (4, self._other_settings),
            "services ended": (1, self._without_a_service),
        }

    def change(self) -> None:
        """Make one change."""
        if self.random.random() < 0.15:
            return self.replace(self.any_state(), "whole sets replaced")
        weights = [weight for weight, _ in self.kinds.values()]
        (kind,) = self.random.choices(list(self.kinds), weights)
        before = self.history.state
        after = self.kinds[kind][1](before)
        self._apply(before, after)
        return self.tally.count(kind)

    def replace(self, after: State, kind: str) -> None:
        """Put a whole state in the place of what there is."""
        with self.history.change(after), self.host:
            method.load(after.acceptance, batch.of_entries(after.entries))
        self.tally.count(kind)
        self.tally.count("prefixes added", len(after.entries))

    def _apply(self, before: State, after: State) -> None:
        removed, added = before.entries - after.entries, after.entries - before.entries
        with self.history.change(after), self.host:
            method.apply(
                before.acceptance,
                after.acceptance,
                batch.of_entries(removed),
                batch.of_entries(added),
            )
        self.tally.count("prefixes added", len(added))
        self.tally.count("prefixes removed", len(removed))

    def any_state(self) -> State:
        """Return a state that has nothing to do with the one there is."""
        services = {name: self._settled(service(name)) for name in (*STEADY, MOODY, SHARED)}
        state = State(services, self._core())
        for _ in range(self.random.randrange(30)):
            state = self._more(state)
        return state

    def _core(self) -> Mapping[Slot, str]:
        """Who holds the slots that are in all the time: now one, now the other."""
        return {Slot(v, number): self.random.choice(STEADY) for v in (4, 6) for number in CORE}

    def _slots(self) -> list[Slot]:
        version, length = self.random.choice((4, 6)), self.random.randint(1, LONGEST)
        first = self.random.randrange(INNER.start, INNER.stop)
        return [Slot(version, n) for n in range(first, min(first + length, INNER.stop))]

    def _more(self, state: State) -> State:
        name = self.random.choice((*STEADY, MOODY, SHARED))
        known = {**state.services, name: state.services.get(name) or self._settled(service(name))}
        if name == SHARED:
            return replace(state, services=known, shared=state.shared.union(self._slots()))
        held = {**state.held, **dict.fromkeys(self._slots(), name)}
        if name in STEADY and self.random.random() < 0.3:
            held |= self._core()
        return replace(state, services=known, held=held)

    def _less(self, state: State) -> State:
        gone = set(self._slots())
        held = {slot: name for slot, name in state.held.items() if slot not in gone}
        return replace(state, held=held, shared=state.shared - gone)

    def _other_settings(self, state: State) -> State:
        name = self.random.choice(list(state.services))
        return replace(
            state, services={**state.services, name: self._settled(state.services[name])}
        )

    def _settled(self, old: Service) -> Service:
        """Return a service with other settings; nobody's VIPs are idle but the moody one's."""
        versions = self.random.choice(VERSIONS) if old.name == MOODY else (4, 6)
        return service(old.name, versions)._replace(
            ports=self.random.choice(PORTS[old.name]),
            leftover=self.random.choice(LEFTOVERS),
            ping=self.random.random() < 0.5,
        )

    def _without_a_service(self, state: State) -> State:
        name = self.random.choice((MOODY, SHARED))
        services = {other: known for other, known in state.services.items() if other != name}
        held = {slot: holder for slot, holder in state.held.items() if holder != name}
        return State(services, held, frozenset() if name == SHARED else state.shared)
