"""Measure schedulers with and without feedback in a guest; write docs/feedback.md's tables.

Eight real servers of speeds 1, 1, 1, 1, 1, 1, 2 and 4, all with the same weight, get 55 % of what
they can do. A complete run takes hours; a part of it (`--seeds 1 --seconds 30`) is only printed.
"""

import argparse

from benchmarks import host
from benchmarks.feedback.page import KINDS, POLICIES, tables, written
from tests.harness.guest import REPOSITORY

PAGE = REPOSITORY / "docs" / "feedback.md"
SEEDS, SECONDS = 5, 100.0


def _run(options: argparse.Namespace) -> int:
    policies, kinds = host.chosen(options.policies), host.chosen(options.kinds)
    words = str(options.seconds), str(options.seeds), ",".join(policies), ",".join(kinds)
    status, lines = host.measure(options.kernel, "benchmarks.feedback.inside", *words, machine="")
    print(tables(lines))
    if status:
        return status
    host.keep("feedback", options.kernel, seconds=options.seconds, cells=lines)
    whole = set(policies) == set(POLICIES) and set(kinds) == set(KINDS)
    if whole and options.seeds >= SEEDS and options.seconds >= SECONDS:
        PAGE.write_text(written(PAGE.read_text(), lines))
        print(f"bench: wrote {PAGE.relative_to(REPOSITORY)}")
    return 0


def main() -> int:
    """Run it all, or a part."""
    options = host.parser("benchmarks.feedback", __doc__)
    options.add_argument("--policies", default=",".join(POLICIES), metavar="NAME,NAME")
    options.add_argument("--kinds", default=",".join(KINDS), metavar="NAME,NAME")
    options.add_argument("--seeds", type=int, default=SEEDS, metavar="N")
    options.add_argument("--seconds", type=float, default=SECONDS, metavar="N", help="of each")
    return host.main(_run, options.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
