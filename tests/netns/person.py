"""What somebody does who is not root, as a process of its own: `python -m tests.netns.person`.

Root starts it and imports everything, as the clone may be where nobody else reads.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from io import StringIO
from select import select
from socket import AF_UNIX, SOCK_SEQPACKET, send_fds, socket

from tests.harness.waiting import wait_until
from vipctl import cli
from vipctl.cli.members import asking
from vipctl.errors import Missing
from vipctl.state import runtime

USER, GROUP_OF_NOBODY = 64003, 65534
CROWD = 50
FLOOD = 104  # more than wait in the kernel and are answered
Said = tuple[int, str, str]  # exit code, what is printed, what is printed as errors


class Person:
    """Of a group, and what is done with a state directory."""

    def __init__(self, group: int, state_dir: str) -> None:
        self.group, self.state_dir = group, state_dir

    def become(self) -> None:
        os.setgroups([self.group])
        os.setgid(GROUP_OF_NOBODY)
        os.setuid(USER)

    def vipctl(self, words: Iterable[str]) -> None:
        """Its command line, whoever this is."""
        sys.argv = ["vipctl", "--state-dir", self.state_dir, *words]
        cli.main()

    def run(self, *words: str) -> None:
        """A command of the person's."""
        self._import(words)
        self.become()
        self.vipctl(words)

    def both(self, *lines: str) -> None:
        """Print what each command says: root's, and the person's."""
        for line in lines:
            self._import(line.split())
        for line in lines:
            words = line.split()
            say([forked(partial(self.vipctl, words)), forked(partial(self.run, *words))])

    def closed(self, line: str, output: str) -> None:
        """Likewise, of a command that has one of its outputs closed."""
        words = line.split()
        self._import(words)

        def act(run: Callable[..., None], *given: object) -> None:
            os.close(int(output))
            setattr(sys, {"1": "stdout", "2": "stderr"}[output], None)  # as Python does
            run(*given)

        say([forked(partial(act, self.vipctl, words)), forked(partial(act, self.run, *words))])

    def asked(self, *lines: str) -> None:
        """Print what the daemon says, without any look at what is asked."""
        self.become()
        for line in lines:
            say(forked(partial(self._asked, line.split())))

    def _asked(self, words: Sequence[str]) -> None:
        try:
            sys.exit(asking._asked(connected(), ["--state-dir", self.state_dir, *words]))
        except Missing:
            sys.exit(255)

    def _import(self, words: Sequence[str]) -> None:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            cli.run(["--check", "--state-dir", "/proc/none", *words])

    def nonsense(self) -> None:
        """Print what comes of it."""
        self.become()
        _, write = os.pipe()
        good = request(["status"])
        with connected() as other, open("/dev/null", "w") as null:  # noqa: PTH123
            for text, files in [
                (b"", [write, write]),
                (b"{", [write, write]),
                (b"[" * 60000, [write, write]),
                (good(), []),
                (good(), [write]),
                (good(), [write] * 3),
                (good(), [other.fileno()] * 2),
                (good(), [null.fileno()] * 2),
                (good() + b" " * (1 << 16), [write, write]),
                (good(words=7), [write, write]),
                (good(encodings=["hex", "no"]), [write, write]),
                (good(environment={"TERM": "\0"}), [write, write]),
                (good(environment={"TERM": {}}), [write, write]),
            ]:
                with connected() as link:
                    send_fds(link, [text], files)
                    say(len(link.recv(100)))

    def connect(self) -> None:
        """Print the error of that."""
        self.become()
        try:
            connected()
        except OSError as e:
            say(e.errno)

    def crowd(self) -> None:
        """Print what many ask at once."""
        self._import(["--json", "status"])
        self.become()
        for _ in range(CROWD):
            if not os.fork():
                end_with(lambda: self.vipctl(["--json", "status"]))
        for _ in range(CROWD):
            os.wait()

    def hang(self) -> None:
        """Call, and ask nothing."""
        self.become()
        links = [connected() for _ in range(FLOOD)]
        while links:
            connected().close()

    def look_away(self, *words: str) -> None:
        """Ask, and do not read what is printed, which is said; at a word, wait no longer."""
        self.become()
        _, write = os.pipe()
        links = [connected() for _ in range(4)]
        for link in links:
            form = request(["--state-dir", self.state_dir, *words])
            send_fds(link, [form()], [write, write])
        wait_until(lambda: not select([], [write], [], 0)[1], "the pipe is full")
        say("full")
        sys.stdin.readline()
        for link in links:
            link.close()
        time.sleep(3600)


def request(words: Sequence[str]) -> Callable[..., bytes]:
    """Makes one, with changes."""
    form = {"words": words, "environment": {}, "encodings": ["utf-8", "utf-8"]}
    return lambda **changed: json.dumps(form | changed).encode()


def connected() -> socket:
    link = socket(AF_UNIX, SOCK_SEQPACKET)
    link.connect(runtime.members())
    return link


def forked(act: Callable[[], object]) -> Said:
    """What it prints, by pipes, and how it ends."""
    pipes = [os.pipe(), os.pipe()]
    child = os.fork()
    if not child:
        for own, (_, write) in zip((1, 2), pipes, strict=True):
            os.dup2(write, own)
        for pipe in pipes:
            os.closerange(min(pipe), max(pipe) + 1)
        end_with(act)
    found = []
    for read, write in pipes:
        os.close(write)
        with open(read, encoding="utf-8", errors="replace") as printed:  # noqa: PTH123
            found.append(printed.read())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), found[0], found[1]


def end_with(act: Callable[[], object]) -> None:
    """End the process with it."""
    try:
        act()
    except SystemExit as e:
        with suppress(OSError):
            os._exit(e.code if isinstance(e.code, int) else 1)
    os._exit(100)


def say(what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    act, group, state_dir, *rest = sys.argv[1:]
    getattr(Person(int(group), state_dir), act)(*rest)
