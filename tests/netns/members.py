"""A machine with a group `vipctl`, where a daemon runs, and people who are members or not."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.command import Finished, Vipctl
from tests.harness.guest import REPOSITORY
from tests.harness.running import running
from tests.harness.waiting import wait_until
from tests.netns.test_watch import Daemon, watching
from vipctl.state import runtime

GROUP, ANOTHER = 64001, 64002
# In a mount namespace of its own: /run/vipctl, and the groups of the machine.
ALONE = (
    "mkdir -p /run/vipctl && mount -t tmpfs -o mode=0700 none /run/vipctl && "
    'mount --bind "$0" /etc/group && exec sleep infinity'
)


@dataclass(frozen=True, slots=True)
class Site:
    """`root` is one process there."""

    vipctl: Vipctl
    root: int
    groups: Path

    def enter(self, *argv: str) -> list[str]:
        """The command line of a program there."""
        return [*self._within, "--net", *argv]

    @property
    def _within(self) -> tuple[str, ...]:
        return ("nsenter", f"--target={self.root}", f"--wd={REPOSITORY}", "--mount")

    def command(self, *words: str) -> list[str]:
        """The command line of one of root's."""
        return self.enter(*self.vipctl.argv, *words)

    def person(self, *words: str, group: int = GROUP, does: str = "run") -> list[str]:
        """That of somebody's who is in a group: `tests.netns.person`."""
        start = (sys.executable, "-m", "tests.netns.person", does, str(group))
        return self.enter(*start, str(self.vipctl.state_dir), *words)

    def said(self, *words: str, group: int = GROUP, does: str) -> list[Any]:
        """What a person's process prints."""
        done = run(self.person(*words, group=group, does=does))
        assert done.code == 0, done
        return [json.loads(line) for line in done.stdout.splitlines()]

    def by_root(self, *words: str, **variables: str) -> Finished:
        return run(self.command(*words), **variables)

    def by_member(self, *words: str, **variables: str) -> Finished:
        return run(self.person(*words), **variables)

    def answers(self) -> bool:
        """Whether there is a socket for the group."""
        return run(self.enter("test", "-S", self.socket)).code == 0

    @property
    def socket(self) -> str:
        with self.vipctl.host:
            return runtime.members()

    def make_group(self, number: int | None) -> None:
        """The group has this number from now on; None: there is no such group."""
        line = f"{runtime.GROUP}:x:{number}:\n" if number else ""
        self.groups.write_text(f"root:x:0:\n{line}")

    @contextmanager
    def watched(
        self, directory: Path, *words: str, before: tuple[str, ...] = ()
    ) -> Iterator[Daemon]:
        """While the daemon runs there."""
        inside = (*self._within, *before)
        with watching(self.vipctl, directory / "log", *words, inside=inside) as daemon:
            yield daemon


def run(argv: list[str], **variables: str) -> Finished:
    known = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    done = subprocess.run(
        argv, env=known | variables, capture_output=True, text=True, timeout=120, check=False
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@contextmanager
def site(vipctl: Vipctl, directory: Path) -> Iterator[Site]:
    """The machine; nothing runs there yet."""
    groups = directory / "groups"
    groups.touch()
    argv = ["ip", "netns", "exec", vipctl.host.name, "sh", "-c", ALONE, str(groups)]
    with running(argv) as process:
        wait_until(lambda: name(process.pid) == "sleep", "it is there")
        found = Site(vipctl, process.pid, groups)
        found.make_group(GROUP)
        yield found


def name(process: int) -> str:
    return Path(f"/proc/{process}/comm").read_text().strip()


def children(daemon: Daemon) -> list[str]:
    """The processes that it has started."""
    found = list[str]()
    for task in Path(f"/proc/{daemon.process.pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended
            found += (task / "children").read_text().split()
    return found
