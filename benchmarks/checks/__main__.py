"""Measure checkers in a guest; a complete run of the default kernel is a section of the page."""

import argparse
import sys

from benchmarks import host
from benchmarks.checks import checkers
from benchmarks.checks.page import Cost, table, written
from tests.harness.guest import REPOSITORY
from tests.harness.kernels import kernel

PAGE = REPOSITORY / "docs" / "checks.md"
NUMBER, SECONDS = 1000, 30


def _run(options: argparse.Namespace) -> int:
    names = host.chosen(options.checkers)
    words = ",".join(names), str(options.number), str(options.seconds)
    status, lines = host.measure(options.kernel, "benchmarks.checks.inside", *words)
    if status:
        return status
    host.keep("checks", options.kernel, costs=lines)
    costs = [Cost(**line) for line in lines]
    print(table(costs))
    whole = len(names) == len(checkers.ALL) and (options.number, options.seconds)
    if options.kernel == host.KERNEL and whole == (NUMBER, SECONDS):
        PAGE.write_text(written(PAGE.read_text(), costs, kernel(options.kernel).release))
        print(f"bench: wrote {PAGE.relative_to(REPOSITORY)}")
    return 0


def main() -> int:
    """Run it all, or a part."""
    options = host.parser("benchmarks.checks", __doc__)
    options.add_argument("--checkers", default=",".join(checkers.ALL), metavar="NAME,NAME")
    options.add_argument("--number", type=int, default=NUMBER, help="of real servers")
    options.add_argument("--seconds", type=int, default=SECONDS, help="of the guest")
    return host.main(_run, options.parse_args())


if __name__ == "__main__":
    sys.exit(main())
