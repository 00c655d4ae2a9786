"""Fuzz parts of the module with libFuzzer: `make fuzz`. Corpora grow from run to run, in build/.

An input that shows a flaw is left there, and the exit status says so.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.kernel.targets import REPOSITORY, TARGETS, Target, build_fuzzer, pack, unpack

HOME = REPOSITORY / "build" / "fuzz"
LONGEST = 601  # bytes of an input: 100 operations
LONGEST_KEPT = 241


def fuzz(target: Target, seconds: int) -> int:
    """Build and run it for so long; return its exit status."""
    home = HOME / target.name
    home.mkdir(parents=True, exist_ok=True)
    build_fuzzer(target, home / target.name, home / "kernel")
    unpack(target, home / "corpus")
    where = [f"-artifact_prefix={home}/", str(home / "corpus")]
    how = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-len_control=0"]
    how.append("-print_final_stats=1")
    print(f"fuzz: {target.name}, {seconds} s", flush=True)
    return subprocess.run([str(home / target.name), *how, *where], check=False).returncode


def keep(target: Target) -> None:
    """Make the repository's corpus of a few short inputs that cover as much as all of them."""
    home = HOME / target.name
    with tempfile.TemporaryDirectory() as least:
        program, corpus = str(home / target.name), str(home / "corpus")
        merge = [program, "-merge=1", f"-max_len={LONGEST_KEPT}", least, corpus]
        subprocess.run(merge, check=True, capture_output=True)
        print(f"fuzz: {target.corpus.name} has {pack(target, Path(least))} inputs now")


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.kernel.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", default=list(TARGETS), metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--keep", action="store_true", help="write tests/kernel/*_corpus.txt")
    options = parser.parse_args()
    for target in map(TARGETS.__getitem__, options.targets):
        if status := fuzz(target, options.seconds):
            return status
        if options.keep:
            keep(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
