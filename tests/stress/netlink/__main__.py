"""Fuzz the module's netlink family in guests, one after the other: `make fuzz`.

A run has a seed, which it prints; `--seed N --runs 1` repeats it.
"""

import argparse
import itertools
import sys
import time

from tests.harness import module
from tests.harness.archive import KernelError
from tests.harness.cleanup import terminate_like_interrupt
from tests.harness.guest import boot
from tests.harness.kernels import METAPACKAGES
from tests.stress.netlink.fuzz import (
    FuzzError,
    check_leaks,
    fuzz,
    held,
    program,
    silence,
    without_words,
)

LOAD = 300.0  # seconds to boot a debug kernel, and to end a run that has begun
WARM_UP = 1000  # messages
MEMORY = {module.DEBUG_KERNEL: "3G"}


def _outside(options: argparse.Namespace) -> int:
    program()
    inside = ["--inside", f"--seconds={options.seconds}", f"--seed={options.seed}"]
    inside += [f"--runs={options.runs}", f"--messages={options.messages}"]
    argv = [sys.executable, "-m", "tests.stress.netlink", *inside]
    worst = 0
    for series in options.kernel:
        system = module.prepared(series)
        print(f"fuzz: booting {system.release}", flush=True)
        with boot(system, argv, MEMORY.get(series, "1G")) as guest:
            limit = options.seconds * 3 + LOAD
            status = guest.explain(guest.follow(_emit, limit), _emit)
        worst = max(worst, status)
    return worst


def _emit(line: str) -> None:
    print(line, end="", flush=True)


def _inside(options: argparse.Namespace) -> None:
    module.load()
    with silence():
        fuzz(options.seed, WARM_UP)  # what is allocated once, is now
        before = held()
        _repeat(options)
        after = held()
        print(f"before:   {before}\nafter:    {after}")
        check_leaks(before, after)
        module.unload()
        print(f"unloaded: {held()}")


def _repeat(options: argparse.Namespace) -> None:
    """Run with one seed after the other, until the time is over."""
    deadline, silent = time.monotonic() + options.seconds, set()
    for runs, seed in enumerate(itertools.count(options.seed), 1):
        started = time.monotonic()
        report = fuzz(seed, options.messages)
        seconds = time.monotonic() - started
        print(f"seed {seed}: {options.messages} messages in {seconds:.1f} s\n{report}", flush=True)
        silent |= without_words(report)
        if runs == options.runs or time.monotonic() > deadline:
            break
    if silent:
        raise FuzzError(f"refused without words: {sorted(silent)}")


def main() -> int:
    """Do what the command line says."""
    terminate_like_interrupt()
    parser = argparse.ArgumentParser(prog="python -m tests.stress.netlink", description=__doc__)
    parser.add_argument("--kernel", action="append", metavar="SERIES", help="6.1, 6.12, debug")
    parser.add_argument("--seconds", type=float, default=300.0, help="in each guest")
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    parser.add_argument("--runs", type=int, default=0, help="at most so many")
    parser.add_argument("--messages", type=int, default=10000, help="of a run")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--build", action="store_true", help="only compile the fuzzer")
    options = parser.parse_args()
    options.kernel = options.kernel or list(METAPACKAGES)
    try:
        if options.build:
            program()
        elif options.inside:
            _inside(options)
        else:
            return _outside(options)
    except (KernelError, FuzzError) as error:
        print(f"fuzz: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
