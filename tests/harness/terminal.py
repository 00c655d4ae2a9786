"""A terminal of a given size: a program on a host prints on it, as a person sees it."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
from pathlib import Path

from tests.harness.netns import Namespace

REPOSITORY = Path(__file__).parents[2]
TIME_LIMIT = 120.0


def printed(
    host: Namespace, argv: list[str], columns: int, **variables: str
) -> tuple[int, list[str]]:
    """Return the exit code of a program, and the lines that it prints."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = subprocess.Popen(
        ["ip", "netns", "exec", host.name, *argv],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(**variables),
        start_new_session=True,
    )
    os.close(theirs)
    said = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while part := terminal.read(65536):
                said += part
        except OSError:
            pass  # the other side is closed
    return child.wait(TIME_LIMIT), said.decode().splitlines()


def environment(**variables: str) -> dict[str, str]:
    left = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    return left | {"PYTHONPATH": str(REPOSITORY), "TERM": "xterm-256color", **variables}
