"""Two directors, one of which has 20,000 rules and a set of somebody else's, in turn.

`python -m benchmarks.foreign` prints the median CPU time of a range more on each, and their ratio,
for a range whose rules are there and for one that needs new rules.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path

from tests.harness.command import Vipctl
from tests.harness.netns import Namespace
from tests.netns import foreign

RULES = 20_000
ROUNDS = 15


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as directory:
        alone, beside = (Vipctl(Namespace.create(n), Path(directory, n)) for n in ("a", "b"))
        _crowd(beside.host)
        for vipctl in (alone, beside):
            vipctl("add-range", "203.0.113.0/24", "198.18.0.0/32", "--fwmark", "17")
        for name, ranges in (("same rules", _same()), ("new rules", _new())):
            costs: dict[Vipctl, list[float]] = {alone: [], beside: []}
            for words in ranges:
                for vipctl, found in costs.items():
                    found.append(_cost(vipctl, words))
            one, other = map(statistics.median, costs.values())
            print(
                f"{name}: alone {one * 1e3:.0f} ms, beside {other * 1e3:.0f} ms: {other / one:.2f}"
            )
    return 0


def _crowd(host: Namespace) -> None:
    sources = ((n // 256, n % 256) for n in range(RULES))
    rules = (f"ip saddr 10.1.{a}.{b} tcp dport 22 counter" for a, b in sources)
    foreign.hook(host, "crowd", "input priority 0", *rules)
    foreign.newer_set(host, "newer")


def _same() -> list[list[str]]:
    numbers = range(2, 2 + 2 * ROUNDS, 2)
    return [["add-range", f"198.18.0.{n}/32", "--fwmark", "17"] for n in numbers]


def _new() -> list[list[str]]:
    """Each of another length."""
    lengths = list(range(9, 9 + ROUNDS))
    starts = count(20)
    return [["add-range", f"{next(starts)}.0.0.0/{n}", "--fwmark", "17"] for n in lengths]


def _cost(vipctl: Vipctl, words: list[str]) -> float:
    """CPU seconds of a process of its own, and of the kernel for it."""
    before = _used()
    argv = ["ip", "netns", "exec", vipctl.host.name, *vipctl.argv, *words]
    subprocess.run(argv, check=True, capture_output=True)
    return _used() - before


def _used() -> float:
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


if __name__ == "__main__":
    sys.exit(main())
