"""What is measured, and the tables of docs/feedback.md."""

import math
import statistics
from collections.abc import Iterator, Sequence

from tabulate import tabulate

from benchmarks.host import Line

# By name: the scheduler, and who changes weights.
POLICIES = {
    "wrr": ("wrr", ""),
    "wlc": ("wlc", ""),
    "sed": ("sed", ""),
    "twos": ("twos", ""),
    "mh": ("mh", ""),
    "wlc+feedback": ("wlc", "load"),
    "sed+feedback": ("sed", "load"),
    "twos+feedback": ("twos", "load"),
    "learned": ("wlc", "learned"),
}
# By name: requests of a connection, seconds between them, and what befalls the largest server.
KINDS = {
    "short": (1, 0.0, "slow"),
    "kept": (20, 2.0, "slow"),
    "failing": (1, 0.0, "fail"),
}
TITLES = {
    "short": "One request a connection; the largest server is four times as slow for a while",
    "kept": "20 requests a connection, 2 s apart; the same",
    "failing": "One request a connection; the largest server fails at once for a while",
}
# Two-sided 95 % of Student's t, by degrees of freedom.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306}
BEGIN, END = "<!-- measured by make bench-feedback -->", "<!-- end -->"


def tables(lines: Sequence[Line]) -> str:
    """Means over seeds, in milliseconds, with the half of their 95 % confidence interval."""
    return "\n\n".join(
        f"**{TITLES[kind]}.**\n\n{tabulate(rows, HEADERS, tablefmt='github')}"
        for kind in KINDS
        if (rows := list(_rows(lines, kind)))
    )


HEADERS = ["", "p50", "p99", "p50 meanwhile", "p99 meanwhile", "failures"]


def _rows(lines: Sequence[Line], kind: str) -> Iterator[list[str]]:
    for policy in POLICIES:
        found = [one for one in lines if one["policy"] == policy and one["kind"] == kind]
        if found:
            columns = ("p50", "p99", "ill50", "ill99", "errors")
            yield [policy, *(interval([one[name] for one in found]) for name in columns)]


def interval(values: Sequence[float]) -> str:
    mean = statistics.mean(values)
    if len(values) - 1 not in STUDENT:
        return f"{mean:,.0f}"
    half = STUDENT[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:,.0f} ± {half:,.0f}"


def written(page: str, lines: Sequence[Line]) -> str:
    """The page with these tables in place of others; at its end if there are none."""
    begin, mark, rest = page.partition(BEGIN)
    after = rest.partition(END)[2] if mark else "\n"
    return f"{begin.rstrip()}\n\n{BEGIN}\n\n{tables(lines)}\n\n{END}{after}"
