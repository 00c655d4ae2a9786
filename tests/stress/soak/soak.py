"""Rounds of random operations under traffic; each begins and ends with nothing held."""

import json
import random
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from tests.harness.command import Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.stress.shim.tally import Tally
from tests.stress.soak import checks
from tests.stress.soak.dice import WEIGHTS, Dice
from tests.stress.soak.model import Model
from tests.stress.soak.operation import Operation
from tests.stress.soak.watch import Watch
from tests.stress.soak.world import World

FLOWING = 5.0  # seconds until a flow is judged and another begins
COMPARED = 10  # operations from one comparison with all that vipctl says to the next
REMEMBERED = 20  # operations
DAMAGE, OFTEN = "damage", 1 / 30
DAMAGES = (
    "nft delete table inet vipctl",
    "nft delete table inet vipctl_route",
    "iptables-legacy -w -t mangle -F",
    "ipset flush",
    "ip -4 route flush table local proto 118",
    "ip rule del pref 4301 fwmark 17",
)


class Soak:
    """The director, the model of it, and what happened last."""

    def __init__(
        self, net: Lab, counter: LocalInCounter, directory: Path, tally: Tally, seed: str
    ) -> None:
        self.net, self.counter, self.tally, self.seed = net, counter, tally, seed
        self.vipctl, self.directory = Vipctl(net.director, directory / "state"), directory
        self.operations: Counter[str] = Counter()
        self.last = deque[str](maxlen=REMEMBERED)
        self.model, self.rounds = Model(), 0
        self.watch: Watch | None = None
        counter.reset()
        self.bare = checks.everything(net)

    def warm_up(self) -> None:
        """Each kind of operation once, then remove all."""
        self._round(["add file", *WEIGHTS, DAMAGE])

    def round(self, seconds: float) -> None:
        """Any operations until the time is over, then remove all."""
        self.rounds += 1
        self._round(self._kinds(time.monotonic() + seconds))

    def _round(self, kinds: Iterable[str]) -> None:
        self._begin()
        self._become(self.world.start())
        for kind in kinds:
            if kind == DAMAGE:
                self._damage()
            else:
                self._undisturbed(kind)
            if self.tally.complaints:
                return
        self._judge()
        self._complain(checks.compare(self.vipctl, self.model))
        self._become(Model())
        self._complain(self._remains())

    def _begin(self) -> None:
        """Have dice and addresses that depend on the seed and the round's number only."""
        seed = f"{self.seed} {self.rounds}"
        self.world = World.random(random.Random(seed))
        self.dice = Dice(seed, self.world, self.directory)
        self.probing = random.Random(seed)

    def _kinds(self, deadline: float) -> Iterator[str]:
        yield "add file"
        while time.monotonic() < deadline:
            yield DAMAGE if self.dice.random.random() < OFTEN else ""

    def _undisturbed(self, kind: str) -> None:
        """Nothing is lost meanwhile."""
        if self.watch and self.watch.age() > FLOWING:
            self._judge()
        if not self.watch:
            self.watch = Watch(self.net, self.counter, self.world, self.tally)
            self.last.append("-- a flow begins --")
        self._do(self.dice.roll(self.model, kind))

    def _damage(self) -> None:
        """Somebody else deletes something; what is lost until vipctl mends it is not counted."""
        self._judge()
        words = self.dice.random.choice(DAMAGES)
        self.net.director.run(["sh", "-ec", words])
        self.last.append(words)
        self.operations[DAMAGE] += 1
        mends = self.dice.random.choice(("restore", "add", "remove", "apply"))
        self._do(replace(self.dice.roll(self.model, mends), damaged=True))

    def _judge(self) -> None:
        if self.watch:
            self.watch.end()
        self.watch = None

    def _become(self, model: Model) -> None:
        self._do(self.dice.applied(self.model, model))

    def _do(self, operation: Operation) -> None:
        began = time.monotonic()
        done = self.vipctl.text("--json", *operation.words)
        self.last.append(f"{time.monotonic() - began:6.2f} s  {operation}")
        self.operations[operation.kind] += 1
        self.model = operation.result()
        self._complain(operation.faults(done.code, json.loads(done.stdout)))
        self._complain(self._probed(operation))
        if self.operations.total() % COMPARED == 0:
            self._complain(checks.compare(self.vipctl, self.model))

    def _probed(self, operation: Operation) -> list[str]:
        reserved = set(self.world.reserved)
        values = checks.sample(self.probing, operation.touched(), self.model, reserved)
        self.tally.count("probes", len(values))
        return checks.probe(self.net, self.counter, self.model, values)

    def _remains(self) -> list[str]:
        self.counter.reset()
        found = Counter(checks.everything(self.net))
        return [f"left behind: {line}" for line in found - Counter(self.bare)]

    def _complain(self, faults: Iterable[str]) -> None:
        for words in faults:
            self.tally.complain(f"after {self.last[-1]}: {words}")
