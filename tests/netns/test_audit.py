"""Each command that changes something leaves one entry; a socket stands for the journal's."""

import os
import pty
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab

# In the mount namespace that `ip netns exec` makes: no other process sees it.
WITH_JOURNAL = (
    "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && "
    'mount --bind "$0" /run/systemd/journal && exec "$@"'
)
Entry = dict[str, str]


class Journal:
    """What journald would get."""

    def __init__(self, vipctl: Vipctl, directory: Path) -> None:
        self.vipctl, self.directory = vipctl, directory
        directory.mkdir()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(directory / "socket"))

    def run(self, *words: str, stdin: int = subprocess.DEVNULL, **environment: str) -> int:
        """Run a command that finds this journal."""
        argv = ["ip", "netns", "exec", self.vipctl.host.name]
        argv += ["sh", "-c", WITH_JOURNAL, str(self.directory), *self.vipctl.argv, *words]
        known = {name: value for name, value in os.environ.items() if name != "SUDO_USER"}
        done = subprocess.run(
            argv, env=known | environment, stdin=stdin, capture_output=True, timeout=60, check=False
        )
        return done.returncode

    def entries(self) -> list[Entry]:
        found: list[Entry] = []
        with suppress(BlockingIOError):
            while True:
                lines = self.socket.recv(1 << 16, socket.MSG_DONTWAIT).decode().splitlines()
                found.append({name: value for name, _, value in (s.partition("=") for s in lines)})
                assert len(found[-1]) == len(lines), "no field comes twice"
        return found


@pytest.fixture
def journal(net: Lab, vipctl: Vipctl, tmp_path: Path) -> Iterator[Journal]:
    made = Journal(vipctl, tmp_path / "journal")
    yield made
    made.socket.close()


def test_a_change_leaves_one_entry(journal: Journal) -> None:
    words = ("add-range", "203.0.113.0/24", "--fwmark", "17")
    ours, theirs = pty.openpty()
    terminal = os.ttyname(theirs)
    assert journal.run(*words, stdin=theirs, SUDO_USER="alice") == 0
    os.close(theirs)
    os.close(ours)
    (entry,) = journal.entries()
    assert entry["PRIORITY"] == "5"
    assert entry["SYSLOG_IDENTIFIER"] == "vipctl"
    assert (entry["UID"], entry["SUDO_USER"], entry["TTY"]) == ("0", "alice", terminal)
    command = f"vipctl --state-dir {journal.vipctl.state_dir} {' '.join(words)}"
    assert (entry["COMMAND"], entry["OUTCOME"]) == (command, "changed")
    who = f"(uid 0, SUDO_USER alice, tty {terminal}"
    assert entry["MESSAGE"].startswith(f"{command}: changed {who}")
    assert journal.run(*words) == 0
    (entry,) = journal.entries()
    assert entry["OUTCOME"] == "unchanged"
    assert {"SUDO_USER", "TTY"} & entry.keys() == set()


def test_so_does_what_was_refused(journal: Journal) -> None:
    """And nothing that somebody types can be taken for a field, or for another entry."""
    assert journal.run("drain-real", "a\nPRIORITY=0\x1b[2J", "192.0.2.1") == 3
    (entry,) = journal.entries()
    assert entry["PRIORITY"] == "5"
    assert entry["OUTCOME"].startswith("refused: there is no service")
    assert "\\n" in entry["COMMAND"]
    assert "\x1b" not in "".join(entry.values())


def test_a_command_of_any_length_leaves_one(journal: Journal) -> None:
    ranges = [f"20.{n >> 8}.{n & 255}.0/24" for n in range(20_000)]
    assert journal.run("add-range", *ranges, "--fwmark", "17") == 0
    (entry,) = journal.entries()
    assert entry["OUTCOME"] == "changed"
    assert f"({len(ranges) + 5} words)" in entry["COMMAND"]


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["list-ranges"],
        ["export"],
        ["lookup", "203.0.113.1"],
        ["--check", "add-range", "203.0.113.0/24", "--fwmark", "17"],
        ["--check", "restore"],
        ["--version"],
    ],
    ids=" ".join,
)
def test_what_only_looks_leaves_none(journal: Journal, words: list[str]) -> None:
    assert journal.run(*words) == 0
    assert journal.entries() == []


def test_a_journal_that_hangs_holds_nobody_up(journal: Journal) -> None:
    journal.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others:
        others.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                others.sendto(bytes(1000), str(journal.directory / "socket"))
    assert journal.run("add-range", "203.0.113.0/24", "--fwmark", "17") == 0
    assert journal.vipctl("list-ranges")["ranges"] != []
