"""The section of docs/checks.md that `make bench-checks` writes. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks import section
from benchmarks.checks.checkers import EVERY, FALL, TIMEOUT

TITLE = "## Beside keepalived and ldirectord"
TEXT = """{title}

{number:,} real servers, each asked for a TCP connection every {every} seconds; {broken} of them
break at once, and are found after {fall} failures (timeout {timeout} s). Processor time is of one
processor; memory is that of all processes, what they share counted once:

{table}
`make bench-checks` measured this, one after the other, under Linux {release} with real IPVS, in a
QEMU guest that counts instructions: a nanosecond of its clock is an instruction, so only ratios
count. keepalived ran its checkers alone (`--check`), without VRRP. ldirectord asks one real server
after the other, and rests for {every} seconds after each round.
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a checker needs, and how soon it finds what breaks: seconds, by fault."""

    checker: str
    number: int
    asked: float  # connections a second
    used: float  # processors
    memory: float  # MB
    found: Mapping[str, Sequence[float]]


def table(costs: Sequence[Cost]) -> str:
    """In Markdown."""
    faults = list(costs[0].found)
    heads = ["", "checks a second", "processor", "for each check", "memory"]
    heads += [f"found if they {fault}: median, worst" for fault in faults]
    lines = [heads, ["---"] * len(heads), *(_row(cost, faults) for cost in costs)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _row(cost: Cost, faults: Sequence[str]) -> list[str]:
    times = [cost.found[fault] for fault in faults]
    return [
        cost.checker,
        f"{cost.asked:.0f}",
        f"{100 * cost.used:.1f} %",
        f"{1e6 * cost.used / cost.asked:.0f} µs",
        f"{cost.memory:.0f} MB",
        *(f"{statistics.median(one):.1f} s, {max(one):.1f} s" for one in times),
    ]


def written(page: str, costs: Sequence[Cost], release: str) -> str:
    """The page with that section, new or for the first time."""
    values = {"every": EVERY, "timeout": TIMEOUT, "fall": FALL, "release": release}
    number, broken = costs[0].number, len(next(iter(costs[0].found.values())))
    made = TEXT.format(title=TITLE, number=number, broken=broken, table=table(costs), **values)
    return section.written(page, TITLE, made)
