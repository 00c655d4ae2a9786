"""Processes of vipctl that start at once, being forked from one that has imported everything.

Under strace, which can strike a process at the N-th of some system call, it is the forked process
that says when: it makes as many calls in vain as are missing to `STRIKE`.
"""

import ctypes
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.harness.command import Finished, Vipctl
from tests.harness.guest import REPOSITORY
from tests.harness.netns import Namespace

STRIKE = 250  # more than any command makes of one call
NO_FILE = 1 << 20
StrikeAt = tuple[str, int]  # a system call; the how manieth of a command


def striking(calls: Iterable[str], action: str, *, lasting: bool = False) -> list[str]:
    """Return the strace that does `action`, such as `signal=SIGKILL`, at a call's STRIKE-th.

    `lasting`: and at all that follow.
    """
    names = ",".join(calls)
    inject = f"inject={names}:{action}:when={STRIKE}{'+' * lasting}"
    return ["strace", "-f", "-q", "-o", "/dev/null", "-e", f"trace={names}", "-e", inject]


def recording(calls: Iterable[str], file: Path) -> list[str]:
    """Return the strace that writes calls to a file, each with its process first."""
    return ["strace", "-f", "-q", "-o", str(file), "-e", f"trace={','.join(calls)}"]


class Zygote:
    """The process that forks; usable as a context, which ends it."""

    def __init__(self, tracer: Sequence[str] = ()) -> None:
        argv = [*tracer, sys.executable, "-m", __spec__.name]
        self.process = subprocess.Popen(
            argv, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> "Zygote":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=30)

    def start(self, vipctl: Vipctl, *words: str, strike_at: StrikeAt | None = None) -> int:
        """Start a command; return its process, to be waited for with `finish`."""
        argv = ["--state-dir", str(vipctl.state_dir), "--json", *words]
        return int(self._ask(netns=vipctl.host.name, argv=argv, strike_at=strike_at))

    def finish(self, pid: int) -> Finished:
        """Wait for a command; a code below 0 is the signal that ended it."""
        return Finished(**self._ask(pid=pid))

    def run(self, vipctl: Vipctl, *words: str, strike_at: StrikeAt | None = None) -> Finished:
        """Run a command, struck before the N-th of its calls of one kind."""
        return self.finish(self.start(vipctl, *words, strike_at=strike_at))

    def _ask(self, **question: object) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps(question), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


def _serve() -> None:
    """Answer questions until there are no more."""
    _import_everything()
    outputs: dict[int, int] = {}
    for line in sys.stdin:
        question = json.loads(line)
        if pid := question.get("pid"):
            print(json.dumps(_reap(pid, outputs.pop(pid))), flush=True)
        else:
            pid, output = _fork(**question)
            outputs[pid] = output
            print(pid, flush=True)


def _import_everything() -> None:
    import nftables  # noqa: F401

    from vipctl.cli import render, run  # noqa: F401
    from vipctl.operate import document, report  # noqa: F401


def _fork(netns: str, argv: Sequence[str], strike_at: StrikeAt | None) -> tuple[int, int]:
    """Return the process and the file that it prints to."""
    output = os.memfd_create("output")
    pid = os.fork()
    if pid == 0:
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = 1
        try:
            code = _become(netns, argv, strike_at)
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    return pid, output


def _become(netns: str, argv: Sequence[str], strike_at: StrikeAt | None) -> int:
    from vipctl.cli import run

    with Namespace(netns):
        if strike_at is not None:
            call, number = strike_at
            _call_in_vain(call, STRIKE - number)
        code = run(argv)
        sys.stdout.flush()
        return code


def _call_in_vain(call: str, times: int) -> None:
    """Make a system call that changes nothing."""
    libc = ctypes.CDLL(None)
    nothing: dict[str, Callable[[], object]] = {
        "sendto": lambda: libc.sendto(NO_FILE, None, 0, 0, None, 0),
        "sendmsg": lambda: libc.sendmsg(NO_FILE, None, 0),
        "pwrite64": lambda: libc.pwrite(NO_FILE, None, 0, 0),
        "ftruncate": lambda: libc.ftruncate(NO_FILE, 0),
        "fdatasync": lambda: libc.fdatasync(NO_FILE),
        "unlink": lambda: libc.unlink(b""),
    }
    for _ in range(times):
        nothing[call]()


def _reap(pid: int, output: int) -> dict[str, object]:
    _, status = os.waitpid(pid, 0)
    with os.fdopen(output, "r+") as printed:
        printed.seek(0)
        text = printed.read()
    return {"code": os.waitstatus_to_exitcode(status), "stdout": text, "stderr": ""}


if __name__ == "__main__":
    _serve()
