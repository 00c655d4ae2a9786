"""Load a million /32 into the shim and into an ipset, in turn, in one guest that counts."""

import argparse
import sys

from benchmarks import host
from tests.harness.module import built


def _run(options: argparse.Namespace) -> int:
    built(options.kernel)
    status, lines = host.measure(options.kernel, "benchmarks.loading.inside", str(options.size))
    if status:
        return status
    host.keep("loading", options.kernel, loads=lines)
    print(_table(lines))
    return 0


def _table(lines: list[host.Line]) -> str:
    rows = ["| | instructions | memory |", "|---|---|---|"]
    for line in lines:
        cost = f"{line['instructions'] / 1e9:.2f} G"
        rows.append(f"| {line['what']} | {cost} | {line['bytes'] / 1e6:.0f} MB |")
    return "\n".join(rows)


def main() -> int:
    """Measure and print."""
    options = host.parser("benchmarks.loading", __doc__)
    options.add_argument("--size", type=int, default=1_000_000)
    return host.main(_run, options.parse_args())


if __name__ == "__main__":
    sys.exit(main())
