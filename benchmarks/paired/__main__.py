"""Processor time of one range more, of this tree and of an earlier commit, in turn.

python -m benchmarks.paired COMMIT, or make bench-paired COMMIT=…

Among a thousand VIPs and among a million; then, of this tree, beside one service and beside a
thousand. Each side has a director and a state of its own; a pair is a command of each, one after
the other, so that what else the machine does meets both. What is printed is the median of the
pairs' ratios, and their quartiles.

Each side is installed as a release is: the script `vipctl` in a virtual environment that has the
package and the libraries of this one. `make deps` has the tree itself imported, which each start of
that Python pays for with some 20 ms that no director pays.
"""

import argparse
import compileall
import json
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

from benchmarks import host
from benchmarks.scale.plan import MARK, others, vips
from benchmarks.scale.site import Site, site
from benchmarks.scale.ways import write
from benchmarks.scale.words import digits, seconds
from tests.harness.guest import REPOSITORY

RANGES = 10  # of a service
FIRST = "s0"
SCRIPT = "#!{python}\nimport sys\nfrom vipctl.__main__ import main\n\nsys.exit(main())\n"  # pip's


@dataclass(frozen=True, slots=True)
class Side:
    """A vipctl, at work on a director."""

    program: Path
    site: Site

    def cpu(self, *words: str) -> float:
        """Return the seconds of processor time that a command takes."""
        state = ["--state-dir", str(self.site.scratch / "state")]
        return self.site.timed([str(self.program), *state, *words]).cpu


Load = Callable[[Side], list[str]]  # fills a director; returns what one range more needs to say


@contextmanager
def _tree(commit: str) -> Iterator[Path]:
    """Check the commit out beside this tree, for as long as it is needed."""
    path = host.HOME / "before"
    git = ["git", "-C", str(REPOSITORY), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--force", "--detach", str(path), commit], check=True)
    try:
        yield path
    finally:
        subprocess.run([*git, "remove", "--force", str(path)], check=True)


@contextmanager
def _installed(tree: Path) -> Iterator[Path]:
    """Return the script of a tree that is installed with the libraries of this environment."""
    libraries = Path(sysconfig.get_path("purelib"))
    with TemporaryDirectory(prefix="vipctl-installed-") as home:
        venv.create(home, symlinks=True)
        packages = Path(home, libraries.relative_to(sys.prefix))
        for found in libraries.iterdir():
            if found.suffix != ".pth" and not found.name.startswith(("__editable__", "vipctl")):
                (packages / found.name).symlink_to(found)
        (packages / "vipctl").symlink_to(tree / "vipctl")
        compileall.compile_dir(tree / "vipctl", quiet=1)
        script = Path(home, "bin", "vipctl")
        script.write_text(SCRIPT.format(python=script.with_name("python")))
        script.chmod(0o755)
        yield script


def _among(size: int, method: str) -> Load:
    """Load so many VIPs; return the words that one range more needs."""

    def load(side: Side) -> list[str]:
        listed = "@" + write(side.site, "vips", vips(4, size))
        side.cpu("add-range", listed, "--fwmark", str(MARK), "--method", method)
        return ["--fwmark", str(MARK)]

    return load


def _beside(services: int, method: str) -> Load:
    """Load so many services of a few ranges each."""

    def load(side: Side) -> list[str]:
        drawn = iter(vips(4, RANGES * services))
        forms = {
            f"s{n}": {"method": method, "ranges": [next(drawn) for _ in range(RANGES)]}
            for n in range(services)
        }
        side.cpu("apply", write(side.site, "state.json", [json.dumps({"services": forms})]))
        return ["--service", FIRST]

    return load


def _pairs(
    programs: Sequence[Path], loads: Sequence[Load], count: int
) -> list[tuple[float, float]]:
    with ExitStack() as stack:
        sides = [Side(program, stack.enter_context(site())) for program in programs]
        words = [load(side) for load, side in zip(loads, sides, strict=True)]
        found = []
        for extra in others(4)[-count:]:
            one, other = (
                side.cpu("add-range", extra, *more) for side, more in zip(sides, words, strict=True)
            )
            found.append((one, other))
        return found


def _say(what: str, pairs: Sequence[tuple[float, float]]) -> None:
    low, middle, high = quantiles([other / one for one, other in pairs], n=4)
    one, other = (seconds(median(side)) for side in zip(*pairs, strict=True))
    spread = f"{digits(low, 3)} to {digits(high, 3)}"
    print(f"{what}: {one} and {other}, ratio {digits(middle, 3)} ({spread})", flush=True)


def _run(options: argparse.Namespace) -> int:
    host.HOME.mkdir(parents=True, exist_ok=True)
    sizes = [int(size) for size in host.chosen(options.sizes)]
    with _installed(REPOSITORY) as now:
        with _tree(options.commit) as tree, _installed(tree) as before:
            for size in sizes:
                load = _among(size, options.method)
                pairs = _pairs([before, now], [load, load], options.pairs)
                _say(f"among {size:,} VIPs, {options.commit} and this tree", pairs)
        few, many = (_beside(number, options.method) for number in (1, options.services))
        pairs = _pairs([now, now], [few, many], options.pairs)
        _say(f"beside 1 service and {options.services:,}, this tree", pairs)
    return 0


def main() -> int:
    """Measure and print."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.paired",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("commit", help="the tree to compare this one with")
    options.add_argument("--sizes", default="1000,1000000", metavar="N,N")
    options.add_argument("--services", type=int, default=1000, metavar="N")
    options.add_argument("--method", default="fwmark")
    options.add_argument("--pairs", type=int, default=20, metavar="N")
    return host.main(_run, options.parse_args())


if __name__ == "__main__":
    sys.exit(main())
