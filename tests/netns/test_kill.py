"""`kill -9` at every kernel message and every database write: the next command repairs."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import lab
from tests.netns import snapshot, truth
from tests.netns.moments import CALLS, moments
from tests.netns.zygote import StrikeAt, Zygote, striking

BEFORE = """
services:
  fwmark-17: {ranges: [203.0.113.0/24, "2001:db8:1::/64"]}
  web: {ranges: [198.51.100.10-198.51.100.99], ports: [tcp/80]}
"""
AFTER = """
services:
  fwmark-18: {ranges: [203.0.113.128/25, 192.0.2.1, "2001:db8:1::/64"], ping: true}
  web: {ranges: [198.51.100.0/25, "2001:db8:2::/48"]}
"""
VIPS = "203.0.113.0/24"
CHANGES = {"sendto", "pwrite64"}
NEXT = {"198.18.0.1/32": 99}


class Victim:
    """vipctl on a director of its own, whose commands can be killed."""

    def __init__(self, vipctl: Vipctl, killing: Zygote, sparing: Zygote) -> None:
        self.vipctl, self.killing, self.sparing = vipctl, killing, sparing

    def __call__(self, *words: str) -> dict[str, Any]:
        """Run a command that nobody kills."""
        done = self.sparing.run(self.vipctl, *words)
        assert done.code == 0, f"{words}: {done}"
        printed: dict[str, Any] = json.loads(done.stdout)
        return printed

    def kill(self, at: StrikeAt, *words: str) -> None:
        """Run a command and kill it before that call."""
        done = self.killing.run(self.vipctl, *words, strike_at=at)
        assert done.code == -9, f"{words}, to be killed at {at}: {done}"


@contextmanager
def _victim(directory: Path) -> Iterator[Victim]:
    killer = striking(CALLS, "signal=SIGKILL")
    with lab(reals=0) as net, Zygote(killer) as killing, Zygote() as sparing:
        snapshot.settle(net.director)
        yield Victim(Vipctl(net.director, directory / "state"), killing, sparing)


def _kill_everywhere(directory: Path, before: str, words: tuple[str, ...]) -> None:
    """From one state on kill a command at each moment, and then repair."""
    start = directory / "start.yaml"
    start.write_text(before)
    with _victim(directory) as victim:
        victim("apply", str(start))
        old, whole = truth.stored(victim), snapshot.unordered(victim.vipctl.host)
        when = moments(victim.vipctl, directory / "trace", *words)
        assert {call for call, _ in when} >= CHANGES
        new = truth.stored(victim)
        for moment in when:
            victim("apply", str(start))
            assert snapshot.unordered(victim.vipctl.host) == whole, moment
            victim.kill(moment, *words)
            left = truth.stored(victim)
            assert left in (old, new), moment
            victim("add-range", *NEXT, "--fwmark", "99")
            now = truth.assert_as_stored(victim.vipctl.host, victim)
            assert now == left | NEXT, moment


def test_the_next_command_repairs_what_a_killed_one_left(tmp_path: Path) -> None:
    """One command changes only prefixes, of which nothing but the intent tells; one all."""
    after = tmp_path / "after.yaml"
    after.write_text(AFTER)
    add = ("add-range", "192.0.2.0/24", "2001:db8:2::/64", "--fwmark", "17")
    directories = [tmp_path / "add-range", tmp_path / "apply"]
    for directory in directories:
        directory.mkdir()
    with ThreadPoolExecutor() as pool:
        list(pool.map(_kill_everywhere, directories, [BEFORE] * 2, [add, ("apply", str(after))]))


@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_a_killed_first_or_last_command_is_repaired(tmp_path: Path, first: bool) -> None:
    """There is no state before, or none after; every eighth database write will do."""
    add, remove = ("add-range", VIPS, "--fwmark", "17"), ("remove-range", VIPS)
    with _victim(tmp_path) as victim:
        empty = snapshot.kernel(victim.vipctl.host)
        if not first:
            victim(*add)
        when = moments(victim.vipctl, tmp_path / "trace", *(add if first else remove))
        for call, number in when:
            if call == "pwrite64" and number % 8:
                continue
            victim(*(remove if first else add))
            if first:
                shutil.rmtree(victim.vipctl.state_dir)
            victim.kill((call, number), *(add if first else remove))
            assert truth.stored(victim) in ({}, {VIPS: 17}), (call, number)
            victim(*add)
            assert truth.assert_as_stored(victim.vipctl.host, victim) == {VIPS: 17}, (call, number)
        victim(*remove)
        assert snapshot.kernel(victim.vipctl.host) == empty
