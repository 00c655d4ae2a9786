"""A terminal that a program draws on: its screen can be read, and keys sent to it."""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.harness.netns import Namespace, execute
from tests.harness.terminal import environment
from tests.harness.waiting import wait_until


class Screen(NamedTuple):
    """Of a tmux server of its own."""

    socket: Path

    def tmux(self, *words: str) -> str:
        argv = ["tmux", "-u", "-S", str(self.socket), "-f", "/dev/null", *words]
        return execute(argv, env=os.environ | {"LC_ALL": "C.UTF-8"}).stdout

    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.tmux("capture-pane", "-p").splitlines()]

    def text(self) -> str:
        return "\n".join(self.lines())

    def press(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        self.tmux("send-keys", "-l", text)

    def resize(self, columns: int, rows: int) -> None:
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.text(), f"{text!r} is on the screen:\n{self.text()}")


@contextmanager
def screen(
    host: Namespace, directory: Path, columns: int, rows: int, **variables: str
) -> Iterator[Screen]:
    """With a shell on a host."""
    directory.mkdir(exist_ok=True)
    found = Screen(directory / "tmux")
    size = ("-x", str(columns), "-y", str(rows))
    wanted = environment(**{"TERM": "tmux-256color", "PS1": "$ ", **variables})
    shell = ["ip", "netns", "exec", host.name, "env", "-i"]
    shell += [*(f"{name}={value}" for name, value in wanted.items()), "bash", "--norc"]
    found.tmux("new-session", "-d", *size, shlex.join(shell))
    try:
        found.wait_for("$")
        yield found
    finally:
        found.tmux("kill-server")
