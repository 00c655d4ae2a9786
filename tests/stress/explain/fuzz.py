"""Situations one after another, each compared with what the client meets."""

import os
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.harness.waiting import wait_until
from tests.stress.explain.meeting import PATIENCE, SILENCE, Told, met, told
from tests.stress.explain.site import Site, site
from tests.stress.explain.situation import Situation, drawn

Say = Callable[[str], None]
AGREED, UNDECIDED, DISAGREED = "agreed", "undecided", "DISAGREED"


class Outcome(NamedTuple):
    """Whether the client got an answer, and what `explain` said."""

    answered: bool
    told: Told

    @property
    def agreement(self) -> str:
        """Undecided is what `explain` says itself that it cannot tell."""
        if self.answered is self.told.answers:
            return AGREED
        return UNDECIDED if self.told.doubts and not self.answered else DISAGREED

    def __str__(self) -> str:
        said = ", ".join(self.told.causes) or "no cause"
        doubts = f" (? {', '.join(self.told.doubts)})" if self.told.doubts else ""
        return f"{'an answer' if self.answered else 'no answer'}, and {said}{doubts}"


def outcome(situation: Situation, *, ipvs: bool) -> Outcome:
    """Build the situation and ask; again, as it takes seconds until a neighbour is missed."""
    with (
        tempfile.TemporaryDirectory(prefix="vipctl-explain-") as scratch,
        site(situation, Path(scratch), ipvs=ipvs) as built,
    ):
        found = Outcome(met(built, SILENCE), told(built))
        return _again(built) if found.agreement == DISAGREED else found


def _again(built: Site) -> Outcome:
    answered = met(built, PATIENCE)
    with suppress(TimeoutError):
        wait_until(lambda: told(built).answers is answered, "they agree", PATIENCE)
    return Outcome(answered, told(built))


def run(first: int, number: int, *, ipvs: bool, say: Say = print) -> Counter[str]:
    """Count agreements. The seeds are `first` and those that follow it."""
    counts: Counter[str] = Counter()
    for seed in range(first, first + number):
        situation = drawn(seed, ipvs=ipvs)
        try:
            found = outcome(situation, ipvs=ipvs)
        except Exception as error:
            counts[DISAGREED] += 1
            say(f"{situation}\n    FAILED: {type(error).__name__}: {error}")
            continue
        counts[found.agreement] += 1
        counts["answered"] += found.answered
        say(f"{situation}\n    {found.agreement}: {found}")
    return counts


def summary(first: int, number: int, counts: Counter[str], *, ipvs: bool) -> str:
    """Say what it came to."""
    where = "with IPVS" if ipvs else "without IPVS: up to where it would take the packet"
    return (
        f"{os.uname().release}, {where}: {number} situations from seed {first}, "
        f"{counts['answered']} answered; {counts[AGREED]} agreed, {counts[UNDECIDED]} undecided; "
        f"disagreements: {counts[DISAGREED]}"
    )
