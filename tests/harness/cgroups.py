"""Control groups of version 2: what a program costs, and programs that get little processor.

They need a kernel on which no hierarchy of version 1 has the controller `cpu`, as a guest's.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.netns import execute

PERIOD = 100_000  # microseconds


@contextmanager
def group() -> Iterator[Path]:
    """A group of one's own; its processes are in the root afterwards."""
    with tempfile.TemporaryDirectory() as root:
        execute(["mount", "-t", "cgroup2", "none", root])
        made = Path(root, "vipctl")
        try:
            Path(root, "cgroup.subtree_control").write_text("+cpu")
            made.mkdir()
            yield made
            for pid in members(made):
                Path(root, "cgroup.procs").write_text(str(pid))
            made.rmdir()
        finally:
            execute(["umount", root])


def members(made: Path) -> list[int]:
    """Its processes."""
    return list(map(int, (made / "cgroup.procs").read_text().split()))


def used(made: Path) -> float:
    """Seconds of processor time of all its processes, also of those that have ended."""
    rows = (line.split() for line in (made / "cpu.stat").read_text().splitlines())
    return float(dict(rows)["usage_usec"]) / 1e6


@contextmanager
def starved(pid: int, percent: int) -> Iterator[None]:
    """The process gets that much of one processor."""
    with group() as made:
        (made / "cpu.max").write_text(f"{PERIOD * percent // 100} {PERIOD}")
        (made / "cgroup.procs").write_text(str(pid))
        yield
