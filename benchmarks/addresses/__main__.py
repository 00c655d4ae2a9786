"""Thousands of addresses of the director, with the shim and without, in one guest that counts.

What it takes to add and to remove them; and what a packet for a VIP costs, by the source that its
sender chooses.
"""

import argparse
import sys
from statistics import median

from benchmarks import host
from benchmarks.datapath.__main__ import SENDER, build_sender
from tests.harness.module import built


def _run(options: argparse.Namespace) -> int:
    build_sender()
    built(options.kernel)
    words = str(SENDER), str(options.changed), str(options.crowd), str(options.rounds)
    status, lines = host.measure(options.kernel, "benchmarks.addresses.inside", *words)
    if status:
        return status
    host.keep("addresses", options.kernel, costs=lines)
    print(_table(lines))
    return 0


def _table(lines: list[host.Line]) -> str:
    rows = ["| | instructions | |", "|---|---|---|"]
    found: dict[str, dict[bool, list[float]]] = {}
    for line in lines:
        found.setdefault(line["what"], {}).setdefault(line["base"], []).append(line["instructions"])
    for what, costs in found.items():
        least, base = (median(costs[is_base]) for is_base in (False, True))
        rows.append(f"| {what} | {least:,.0f}, against {base:,.0f} | {least / base:.2f} |")
    return "\n".join(rows)


def main() -> int:
    """Measure and print."""
    options = host.parser("benchmarks.addresses", __doc__)
    options.add_argument("--changed", type=int, default=12_000, help="that come and go")
    options.add_argument("--crowd", type=int, default=4_000, help="that packets meet")
    options.add_argument("--rounds", type=int, default=3)
    return host.main(_run, options.parse_args())


if __name__ == "__main__":
    sys.exit(main())
