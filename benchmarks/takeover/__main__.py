"""Measure power cuts in a guest; a complete run of the default kernel is a section of the page."""

import argparse
import sys

from benchmarks import host
from benchmarks.takeover.page import Cut, table, written
from tests.harness.guest import REPOSITORY
from tests.harness.kernels import kernel

PAGE = REPOSITORY / "docs" / "two-directors.md"
ROUNDS = 3


def _run(options: argparse.Namespace) -> int:
    # Timers are what is measured: the guest's clock is this machine's.
    status, lines = host.measure(
        options.kernel, "benchmarks.takeover.inside", str(options.rounds), machine=""
    )
    if status:
        return status
    host.keep("takeover", options.kernel, cuts=lines)
    cuts = [Cut(**line) for line in lines]
    print(table(cuts))
    if options.kernel == host.KERNEL and options.rounds >= ROUNDS:
        PAGE.write_text(written(PAGE.read_text(), cuts, kernel(options.kernel).release))
        print(f"bench: wrote {PAGE.relative_to(REPOSITORY)}")
    return 0


def main() -> int:
    """Run it all, or a part."""
    options = host.parser("benchmarks.takeover", __doc__)
    options.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    return host.main(_run, options.parse_args())


if __name__ == "__main__":
    sys.exit(main())
