"""vipctl as processes of its own, where in-process will not do: locks, kills, other users."""

import json
import subprocess
from typing import Any

from tests.harness.command import Finished, Vipctl

LIMIT = 60.0


def start(vipctl: Vipctl, *words: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start a command on the director; `before` are the words of what starts it, such as env."""
    argv = ["ip", "netns", "exec", vipctl.host.name, *before, *vipctl.argv, "--json", *words]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> Finished:
    """Wait for a command's end."""
    stdout, stderr = process.communicate(timeout=LIMIT)
    return Finished(process.returncode, stdout, stderr)


def run(vipctl: Vipctl, *words: str, before: tuple[str, ...] = ()) -> tuple[int, dict[str, Any]]:
    """Run a command; return its exit code and the object that it printed."""
    done = finish(start(vipctl, *words, before=before))
    assert done.stdout, done
    printed: dict[str, Any] = json.loads(done.stdout)
    return done.code, printed
