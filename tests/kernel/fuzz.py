"""Fuzz the trie with libFuzzer: `make fuzz`. The corpus grows from run to run, below build/.

An input that shows a flaw is left there, and the exit status says so.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.kernel.trie import REPOSITORY, build_fuzzer, pack, unpack

HOME = REPOSITORY / "build" / "fuzz" / "trie"
PROGRAM, CORPUS = HOME / "trie", HOME / "corpus"
LONGEST = 601  # bytes of an input: 100 operations
LONGEST_KEPT = 241


def fuzz(seconds: int) -> int:
    """Build and run it for so long; return its exit status."""
    HOME.mkdir(parents=True, exist_ok=True)
    build_fuzzer(PROGRAM, HOME / "kernel")
    unpack(CORPUS)
    where = [f"-artifact_prefix={HOME}/", str(CORPUS)]
    how = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-len_control=0"]
    how.append("-print_final_stats=1")
    return subprocess.run([str(PROGRAM), *how, *where], check=False).returncode


def keep() -> None:
    """Make the repository's corpus of a few short inputs that cover as much as all of them."""
    with tempfile.TemporaryDirectory() as least:
        merge = [str(PROGRAM), "-merge=1", f"-max_len={LONGEST_KEPT}", least, str(CORPUS)]
        subprocess.run(merge, check=True, capture_output=True)
        print(f"fuzz: the repository's corpus has {pack(Path(least))} inputs now")


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.kernel.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--keep", action="store_true", help="write tests/kernel/trie_corpus.txt")
    options = parser.parse_args()
    status = fuzz(options.seconds)
    if options.keep and not status:
        keep()
    return status


if __name__ == "__main__":
    sys.exit(main())
