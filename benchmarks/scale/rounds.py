"""Every contestant at every size, in turn."""

import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks.scale import memory
from benchmarks.scale.plan import BY_NAME, SAMPLE, SEED, SLOW, Kind, others, vips
from benchmarks.scale.record import STOPPED, Run, Spent
from benchmarks.scale.site import ACCIDENTS, Failed, Site, Stopped, site
from benchmarks.scale.ways import WAYS, Case

WEIGHED = 10_000  # VIPs: fewer are lost in what goes on besides


def measure(names: Sequence[str], sizes: Sequence[int], rounds: int) -> Iterator[Run]:
    """Yield what is measured, at once; who is stopped or slow is not measured further."""
    out: set[str] = set()
    for size in sizes:
        slow: set[str] = set()
        for turn in range(rounds):
            for name in names:
                if name in out | slow:
                    continue
                run = measured(name, size, weighed=turn == 0 and size >= WEIGHED)
                yield run
                if run.load is None:
                    out.add(name)
                elif run.outcome or run.load.wall > SLOW:
                    slow.add(name)


def measured(name: str, size: int, *, weighed: bool) -> Run:
    """Measure once, in namespaces of its own; what the kernel holds takes longer to find out."""
    known = [Run(name, size)]
    case = Case(4, vips(4, size), others(4)[0])
    before = memory.settled(memory.DELAY) if weighed else None
    with site() as built:
        try:
            for run in _steps(known[0], built, case, before):
                known.append(run)
        except Stopped:
            return replace(known[-1], outcome=STOPPED)
        except ACCIDENTS as error:
            print(f"bench: {name}, {size:,}: {error}", file=sys.stderr)
            return replace(known[-1], outcome=f"failed: {error}"[:200])
    return known[-1]


def _steps(run: Run, built: Site, case: Case, before: int | None) -> Iterator[Run]:
    """Yield what is known so far."""
    commands = WAYS[run.contestant](built, case)
    members = random.Random(SEED).sample(case.vips, SAMPLE)
    run = replace(run, load=_spent(run, built, commands.load))
    _check_count(run, built)
    if before is not None:
        run = replace(run, kernel=memory.settled() - before)
    yield run
    built.check(members, others(4)[:SAMPLE])
    run = replace(run, more=_spent(run, built, commands.more))
    yield run
    built.check([*members, case.extra], others(4)[1:SAMPLE])
    run = replace(run, remove=_spent(run, built, commands.remove))
    yield run
    if still := built.accepted(members):
        raise Failed(f"still accepted: {sorted(still)[:3]}")


def _spent(run: Run, built: Site, argv: Sequence[str]) -> Spent:
    """Return what a command took; of a raw one, what its sending took."""
    spent = built.timed(argv)
    if BY_NAME[run.contestant].kind is Kind.RAW:
        said = json.loads(built.printed.read_text())
        return Spent(said["wall"], said["cpu"], 0)
    return spent


def _check_count(run: Run, built: Site) -> None:
    """Have a raw load counted: it has all."""
    if BY_NAME[run.contestant].kind is Kind.RAW:
        count = json.loads(built.printed.read_text())["count"]
        if not run.size <= count < run.size + 50:
            raise Failed(f"{count} are there")
