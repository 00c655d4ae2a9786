"""vipctl as an operator on a host runs it, in this process: a guest takes seconds to start one."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.netns import Namespace
from vipctl.cli import run


@dataclass(frozen=True, slots=True)
class Finished:
    """What a command printed, and its exit code."""

    code: int
    stdout: str
    stderr: str


def changes(done: dict[str, Any]) -> list[str]:
    """What a changing command says that it did."""
    return [one["what"] for one in done["changes"]]


@dataclass(frozen=True, slots=True)
class Vipctl:
    """vipctl on one host, with a state directory of its own."""

    host: Namespace
    state_dir: Path

    def text(self, *words: str) -> Finished:
        """Run a command as for a person."""
        with io.StringIO() as stdout, io.StringIO() as stderr:  # click keeps them: close them
            with self.host, redirect_stdout(stdout), redirect_stderr(stderr):
                code = run(["--state-dir", str(self.state_dir), *words])
            return Finished(code, stdout.getvalue(), stderr.getvalue())

    def __call__(self, *words: str) -> dict[str, Any]:
        """Run a command that must succeed; return its JSON object."""
        done = self.text("--json", *words)
        assert done.code == 0, f"{' '.join(words)}: {done}"
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def error(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Run a command that must fail; return its exit code and error object."""
        done = self.text("--json", *words)
        assert done.code != 0, f"{' '.join(words)} succeeded: {done}"
        return done.code, json.loads(done.stdout)["error"]

    @property
    def argv(self) -> list[str]:
        """The start of a command line for a process of its own (tests of kill, locks, Ansible)."""
        import sys

        return [sys.executable, "-m", "vipctl", "--state-dir", str(self.state_dir)]
