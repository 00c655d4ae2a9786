"""Load a million /32 into the shim and into an ipset, in turn, in one guest that counts."""

import argparse
import json
import sys

from benchmarks import host
from tests.harness.kernels import kernel
from tests.harness.module import built

RESULTS = host.HOME / "loading.json"


def _run(options: argparse.Namespace) -> int:
    host.HOME.mkdir(parents=True, exist_ok=True)
    built(options.kernel)
    status, lines = host.measure(options.kernel, "benchmarks.loading.inside", str(options.size))
    if status:
        return status
    release = kernel(options.kernel).release
    RESULTS.write_text(json.dumps({"kernel": release, "loads": lines}, indent=1))
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
