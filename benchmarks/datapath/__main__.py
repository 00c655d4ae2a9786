"""Measure instructions per packet in a guest; write build/bench/datapath.json and the page."""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import host
from benchmarks.datapath.page import page, tables
from benchmarks.datapath.plan import METHODS, MIX, SEED, SIZES, Cost
from tests.harness.guest import REPOSITORY
from tests.harness.kernels import kernel
from tests.harness.module import built

SENDER = host.HOME / "sender"
ALL = (*map(str, SIZES), MIX)
PAGE = REPOSITORY / "docs" / "datapath.md"


def _run(options: argparse.Namespace) -> int:
    """Measure, print the tables; a complete run of the default kernel is the page."""
    methods, sizes = host.chosen(options.methods), host.chosen(options.sizes)
    build_sender()
    if "shim" in methods:
        built(options.kernel)
    words = str(SENDER), ",".join(methods), ",".join(sizes)
    status, lines = host.measure(options.kernel, "benchmarks.datapath.inside", *words)
    if status:
        return status
    host.keep("datapath", options.kernel, seed=SEED, costs=lines)
    costs = [_cost(line) for line in lines]
    print(tables(costs))
    if options.kernel == host.KERNEL and _is_all(methods, sizes):
        PAGE.write_text(page(costs, kernel(options.kernel).release))
        print(f"bench: wrote {PAGE.relative_to(REPOSITORY)}")
    return 0


def build_sender() -> None:
    host.HOME.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).parent / "sender.c"
    flags = ["-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *flags, "-o", str(SENDER), str(source)], check=True)


def _cost(line: host.Line) -> Cost:
    return Cost(**{name: value for name, value in line.items() if name != "net"})


def _is_all(methods: Sequence[str], sizes: Sequence[str]) -> bool:
    return set(methods) == set(METHODS) and set(sizes) == set(ALL)


def main() -> int:
    """Run it all, or a part."""
    options = host.parser("benchmarks.datapath", __doc__)
    options.add_argument("--methods", default=",".join(METHODS), metavar="NAME,NAME")
    options.add_argument("--sizes", default=",".join(ALL), metavar="N,N")
    return host.main(_run, options.parse_args())


if __name__ == "__main__":
    sys.exit(main())
