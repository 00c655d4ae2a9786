"""`kill -9` at random moments: what was reported stays, the rest is done or not, never half."""

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import lab
from tests.netns import truth
from tests.netns.zygote import Zygote

KILLS = 200
MARKS = (17, 18, 19)
UNIVERSE = [*ip_network("198.51.100.0/26"), *ip_network("2001:db8:2::/122")]
Address = IPv4Address | IPv6Address
Model = dict[Address, int]  # the mark of every address that is accepted


class Dice:
    """Random commands that vipctl will not refuse, and what they make of a model."""

    def __init__(self, seed: str, file: Path) -> None:
        self.random, self.file = random.Random(seed), file

    def roll(self, model: Model) -> tuple[list[str], Model]:
        """Return the words of a command, and the model after it."""
        span = self._span()
        if self.random.random() < 0.2:
            return self._apply()
        mark = self.random.choice(MARKS)
        free = [address for address in span if model.get(address, mark) == mark]
        if free and self.random.random() < 0.7:
            return ["add-range", *_words(free), "--fwmark", str(mark)], model | _held(free, mark)
        rest = {address: mark for address, mark in model.items() if address not in span}
        return ["remove-range", *_words(span)], rest

    def _apply(self) -> tuple[list[str], Model]:
        model: Model = {}
        for mark in self.random.sample(MARKS, 2):
            model |= _held(self._span(), mark)
        held = {mark: [a for a in model if model[a] == mark] for mark in set(model.values())}
        services = {f"fwmark-{mark}": {"ranges": _words(some)} for mark, some in held.items()}
        self.file.write_text(json.dumps({"services": services}))
        return ["apply", str(self.file)], model

    def _span(self) -> list[Address]:
        first, last = sorted(self.random.choices(range(64), k=2))
        start = self.random.choice((0, 64))
        return UNIVERSE[start + first : start + last + 1]


def _held(addresses: Iterable[Address], mark: int) -> Model:
    return dict.fromkeys(addresses, mark)


def _words(addresses: Iterable[Address]) -> list[str]:
    return [str(address) for address in addresses]


def _stored(vipctl: Vipctl) -> Model:
    return {a: mark for prefix, mark in truth.stored(vipctl).items() for a in ip_network(prefix)}


def _kill_after(
    zygote: Zygote, vipctl: Vipctl, words: list[str], delay: float
) -> tuple[bool, bool]:
    """Return whether a command was killed, and whether it had reported that it was done."""
    command = zygote.start(vipctl, *words)
    time.sleep(delay)
    os.kill(command, signal.SIGKILL)  # until it is waited for, it is there
    done = zygote.finish(command)
    assert done.code in (0, -signal.SIGKILL), done
    return done.code != 0, "changed" in done.stdout


def test_kills_at_random_moments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Set VIPCTL_SEED to what is printed for the same commands again."""
    seed = os.environ.get("VIPCTL_SEED") or str(time.time_ns())
    dice = Dice(seed, tmp_path / "state.yaml")
    came_to: Counter[str] = Counter()
    with lab(reals=0) as net, Zygote() as zygote:
        vipctl = Vipctl(net.director, tmp_path / "state")
        model: Model = {}
        longest = 0.1  # delay in seconds; soon such that half of the commands survive
        while came_to["killed"] < KILLS:
            words, after = dice.roll(model)
            delay = dice.random.uniform(0, longest)
            killed, reported = _kill_after(zygote, vipctl, words, delay)
            left = _stored(vipctl)
            assert left in ((after,) if reported else (model, after)), (seed, words, delay)
            longest *= 1.05 if killed else 0.95
            came_to["killed" if killed else "survived"] += 1
            came_to["had changed the state"] += killed and left != model
            came_to["left something to repair"] += vipctl("status")["pending"]
            model = left
            if dice.random.random() < 0.5:  # otherwise the one that repairs may be killed too
                words, model = dice.roll(model)
                vipctl(*words)
                truth.assert_as_stored(vipctl.host, vipctl)
                assert _stored(vipctl) == model, (seed, words)
            if killed and came_to["killed"] % 20 == 0:
                with capsys.disabled():
                    print(f"\nseed {seed}: {dict(came_to)}", end="", flush=True)
        vipctl("restore")
        assert _stored(vipctl) == model, seed
        assert vipctl("restore")["changed"] is False
    assert came_to["left something to repair"] > KILLS / 20, "the moments are all too early or late"
