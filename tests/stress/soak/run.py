"""A whole soak: warming up, rounds, and the report."""

import os
import tempfile
import time
from pathlib import Path

from tests.harness.lab import lab
from tests.netns import snapshot
from tests.netns.route import BeforeIpvs
from tests.stress.shim.tally import Tally
from tests.stress.soak.memory import Used, resident
from tests.stress.soak.soak import Soak

ROUND = 60.0  # seconds


def run(seed: str, seconds: float, *, alone: bool) -> Tally:
    """Return what it found; the kernel's memory is judged only where nothing else is at work."""
    tally, began = Tally(), time.monotonic()
    print(f"seed {seed}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="vipctl-soak-") as scratch,
        lab(reals=0) as net,
        BeforeIpvs(net.director) as counter,
    ):
        snapshot.settle(net.director)
        soak = Soak(net, counter, Path(scratch), tally, seed)
        try:
            warm = _soaked(soak, seconds)
            memory = _judged(warm, tally, alone=alone)
        except Exception as error:
            memory = "not measured"
            tally.complain(f"{type(error).__name__}: {error}")
        _report(soak, time.monotonic() - began, memory)
    return tally


def _soaked(soak: Soak, seconds: float) -> Used:
    """Return what was used once warm, from when on the time counts."""
    bare = Used.now()
    soak.warm_up()
    warm, end = Used.now().least(bare), time.monotonic() + seconds
    while not soak.tally.complaints and (left := end - time.monotonic()) > 0:
        print(f"{left:.0f} s left: {resident():,} KiB, {soak.tally.line()}", flush=True)
        soak.round(min(ROUND, left))
    return warm


def _judged(warm: Used, tally: Tally, *, alone: bool) -> str:
    if not tally.complaints:
        for words in warm.grown(Used.now()) + (warm.leaked() if alone else []):
            tally.complain(words)
    return warm.line(Used.now())


def _report(soak: Soak, seconds: float, memory: str) -> None:
    operations = ", ".join(f"{n:,} {kind}" for kind, n in soak.operations.most_common())
    tally = soak.tally
    print(f"{os.uname().release}, seed {soak.seed}: {seconds:.0f} s, {soak.rounds} rounds")
    print(f"operations: {operations}\ntraffic:    {tally.line()}\nmemory:     {memory}")
    if tally.complaints:
        print("the last:", *soak.last, sep="\n  ")
        print(f"{len(tally.complaints)} COMPLAINTS; again: VIPCTL_SEED={soak.seed}", flush=True)
    else:
        print("no complaint", flush=True)
