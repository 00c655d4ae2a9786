"""`vipctl log` shows what commands changed: systemd's own journald and journalctl have kept it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.harness.command import Finished, Vipctl
from tests.harness.lab import Lab
from tests.harness.waiting import wait_until
from vipctl.cli.contract import commands
from vipctl.cli.contract.objects import Failure
from vipctl.watch.journal import COMMANDS

JOURNALD = "/lib/systemd/systemd-journald"
# In a mount namespace with the machine's /sys, where journald looks for cgroups.
ALONE = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal /run/log/journal && "
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
# Once as root first, which imports all of it: the clone may be where nobody else reads.
AS_NOBODY = """
import contextlib, io, os, sys
from vipctl.cli import run
with contextlib.redirect_stdout(io.StringIO()):
    assert run(sys.argv[1:]) == 0
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit(run(sys.argv[1:]))
"""


class Host:
    """The director, with a journal of its own."""

    def __init__(self, vipctl: Vipctl, pid: int) -> None:
        self.vipctl = vipctl
        self._enter = ("nsenter", f"--target={pid}", "--mount", "--net")

    def execute(self, *argv: str, stdin: str | None = None, **more: str) -> Finished:
        known = {name: value for name, value in os.environ.items() if name != "SUDO_USER"}
        done = subprocess.run(
            [*self._enter, *argv], env=known | more, input=stdin, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        return Finished(done.returncode, done.stdout, done.stderr)

    def run(self, *words: str, **more: str) -> Finished:
        """Run a command of vipctl's."""
        return self.execute(*self.vipctl.argv, *words, **more)

    def log(self, *words: str) -> list[dict[str, str]]:
        """What `log` has, which is of the form that is documented."""
        assert self.execute("journalctl", "--sync").code == 0
        found = json.loads(self.run("--json", "log", *words).stdout)
        commands.of("log").model_validate(found)
        entries: list[dict[str, str]] = found["entries"]
        return entries


@contextmanager
def host(vipctl: Vipctl, *program: str) -> Iterator[Host]:
    """While a program runs there that needs /run to itself."""
    enter = ["nsenter", f"--net=/run/netns/{vipctl.host.name}", "unshare", "--mount"]
    argv = [*enter, "sh", "-c", ALONE + 'exec "$@"', "sh"]
    with subprocess.Popen([*argv, *program]) as process:
        try:
            name = Path(f"/proc/{process.pid}/comm")
            expected = Path(program[0]).name[:15]
            wait_until(lambda: name.read_text().strip() == expected, "it runs")
            yield Host(vipctl, process.pid)
        finally:
            process.terminate()


@pytest.fixture
def journal(net: Lab, vipctl: Vipctl) -> Iterator[Host]:
    assert shutil.which("journalctl"), "systemd is missing: make deps installs it"
    with host(vipctl, JOURNALD) as found:
        there = ("test", "-S", "/run/systemd/journal/socket")
        wait_until(lambda: found.execute(*there).code == 0, "the journal listens")
        yield found


def test_who_changed_what_and_what_came_of_it(journal: Host) -> None:
    add = ("add-range", "203.0.113.0/24", "--fwmark", "17")
    assert journal.log() == []
    assert journal.run(*add, SUDO_USER="alice").code == 0
    assert journal.run(*add).code == 0
    assert journal.run("drain-real", "web", "192.0.2.1").code == 3
    assert journal.run("status").code == 0
    first, second, third = journal.log()
    command = f"vipctl --state-dir {journal.vipctl.state_dir} {' '.join(add)}"
    assert (first["command"], first["outcome"]) == (command, "changed")
    assert (first["uid"], first["sudo_user"], first["tty"]) == ("0", "alice", "")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", first["at"])
    assert (second["outcome"], second["sudo_user"]) == ("unchanged", "")
    assert third["outcome"].startswith("refused: there is no service 'web'")
    assert [one["outcome"] for one in journal.log("--last", "2")] == [
        second["outcome"], third["outcome"],
    ]  # fmt: skip
    said = journal.run("log").stdout.splitlines()
    assert len(said) == 3
    assert said[0].startswith(f"{first['at']} {command}: changed (uid 0, SUDO_USER alice")


def test_what_the_daemon_says_is_none_of_it(journal: Host) -> None:
    said = "SYSLOG_IDENTIFIER=vipctl\nMESSAGE=put back: method fwmark\n"
    assert journal.execute("logger", "--journald", stdin=said).code == 0
    journal.run("add-range", "203.0.113.0/24", "--fwmark", "17")
    assert [one["outcome"] for one in journal.log()] == ["changed"]


def test_nobody_passes_for_another(journal: Host) -> None:
    """Whatever somebody tells the journal: the user is the journal's own word."""
    lines = (f"MESSAGE_ID={COMMANDS}", "SYSLOG_IDENTIFIER=vipctl", "UID=0", "_UID=0", "MESSAGE=x")
    text = "\n".join([*lines, "COMMAND=vipctl \x07", "OUTCOME=changed", "OUTCOME=unchanged"])
    journal.execute(*NOBODY, "logger", "--journald", stdin=f"{text}\n")
    (entry,) = journal.log()
    assert entry["uid"] == "65534"
    said = journal.run("log")
    assert (said.code, "\x07" in said.stdout) == (0, False)
    assert "(uid 65534)" in said.stdout


def test_a_long_command_is_there_whole(journal: Host) -> None:
    """Up to where it is cut anyway; journalctl by itself leaves out what is above 4,096 bytes."""
    journal.run("drain-real", "€" * 3000, "192.0.2.1")
    (entry,) = journal.log()
    assert entry["command"].endswith("€… (5 words)")


def told(done: Finished) -> dict[str, Any]:
    """The error of a command that failed for something that is missing."""
    found = json.loads(done.stdout)
    Failure.model_validate(found)
    assert (done.code, found["error"]["kind"]) == (5, "missing")
    error: dict[str, Any] = found["error"]
    return error


def test_who_may_not_read_it_is_told_so(journal: Host) -> None:
    error = told(journal.execute(sys.executable, "-c", AS_NOBODY, "--json", "log"))
    assert "the journal cannot be read: " in error["message"]
    assert error["hint"] == "use sudo, or be of the group systemd-journal"


def test_where_there_is_no_journal_one_is_told_where_to_look(net: Lab, vipctl: Vipctl) -> None:
    with host(vipctl, "sleep", "60") as found:
        error = told(found.run("--json", "log"))
        assert error["message"] == "there is no journal here"
        assert "/var/log/syslog" in error["hint"]
