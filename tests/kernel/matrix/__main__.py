"""Build the module for every kernel that Debian's archive has, and test it there: `make kernels`.

Everything is in the cache afterwards; docs/kernels.md says what each kernel came to.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tabulate import tabulate

from tests.harness.archive import KernelError
from tests.harness.cleanup import terminate_like_interrupt
from tests.harness.guest import REPOSITORY, check_host
from tests.kernel.matrix.candidates import Candidate, candidates
from tests.kernel.matrix.page import PAGE, cells, publish, read
from tests.kernel.matrix.row import Row, built, tested


def _run(asked: Sequence[str], boot: bool) -> int:
    check_host()
    found = candidates()
    for one in found:
        print(f"{one.release:>28}  {one.debian:8}  {'' if one.has_headers else 'no headers'}")
    chosen = [one for one in found if not asked or one.series in asked]
    rows = [_build(one) for one in chosen]
    if boot:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            rows = list(pool.map(tested, rows))
        _publish(found, rows)
    print(f"\n{tabulate([cells(row) for row in rows], disable_numparse=True)}")
    good = all(row.is_good() if boot else row.is_built() for row in rows)
    print(f"kernels: {'all is well' if good else 'NOT all is well'}")
    return 0 if good else 1


def _build(one: Candidate) -> Row:
    row = built(one)
    print(f"{one.release:>28}  {cells(row)[3]}", flush=True)
    return row


def _publish(found: Sequence[Candidate], rows: Sequence[Row]) -> None:
    """Write the page: new rows, and older ones of kernels that are still there."""
    known = {row.release: row for row in (*read(), *rows)}
    publish(known[one.release] for one in found if one.release in known)
    print(f"written: {PAGE.relative_to(REPOSITORY)}")


def main() -> int:
    """Do what the command line says."""
    terminate_like_interrupt()
    parser = argparse.ArgumentParser(prog="python -m tests.kernel.matrix", description=__doc__)
    parser.add_argument("series", nargs="*", help="6.1, 7.3: only these")
    parser.add_argument("--build", action="store_true", help="boot nothing, write nothing")
    options = parser.parse_args()
    try:
        return _run(options.series, not options.build)
    except KernelError as error:
        print(f"kernels: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("kernels: interrupted; what was downloaded and built is kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
