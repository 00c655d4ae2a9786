"""A state directory that cannot be written, or is damaged: what reads works, no hint does harm."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns import snapshot

ADD = ["add-range", "203.0.113.0/24", "--fwmark", "17"]
REPOSITORY = Path(__file__).parents[2]
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
FULL = (
    'cp -a "$0" "$0.old" && mount -t tmpfs -o size=256k,mode=0700 none "$0"'
    ' && cp -a "$0.old/." "$0" && { cat /dev/zero > "$0/ballast" 2> /dev/null; exec "$@"; }'
)
STATES = {"read-only": (READ_ONLY, "writable"), "full": (FULL, "room")}


def within(vipctl: Vipctl, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A vipctl whose state directory a mount namespace of its own has another way."""
    argv = ["unshare", "-m", "sh", "-c", script, str(vipctl.state_dir)]
    program = [sys.executable, "-m", "vipctl", "--state-dir", str(vipctl.state_dir)]
    return vipctl.host.run([*argv, *program, *words], check=False, cwd=REPOSITORY)


@pytest.mark.parametrize("journal", ["no journal", "a journal"])
@pytest.mark.parametrize("kind", STATES)
def test_what_reads_works_and_what_changes_says_why_not(
    net: Lab, vipctl: Vipctl, kind: str, journal: str
) -> None:
    script, cure = STATES[kind]
    vipctl(*ADD)
    if journal == "a journal":
        _leave_a_journal(vipctl)
    kernel = snapshot.kernel(net.director)
    listed = within(vipctl, script, "--json", "list-ranges")
    assert listed.returncode == 0, listed
    ranges = [found["range"] for found in json.loads(listed.stdout)["ranges"]]
    assert ranges == (["198.51.100.7/32"] if journal == "a journal" else []) + ["203.0.113.0/24"]
    for words in (["export"], ["status"], ["--check", "remove-service", "fwmark-17"]):
        done = within(vipctl, script, *words)
        assert done.returncode == 0, done
    for words in (["add-range", "192.0.2.0/24", "--fwmark", "17"], ["remove-service", "fwmark-17"]):
        done = within(vipctl, script, *words)
        assert done.returncode != 0
        assert cure in done.stderr
        assert "restore" not in done.stderr
    assert snapshot.kernel(net.director) == kernel


def _leave_a_journal(vipctl: Vipctl) -> None:
    """As a command does that is killed, or a machine that loses its power: one range is in it."""
    killed = (
        "import os, sqlite3, sys; from pathlib import Path; from vipctl.cli import run; "
        "db = sqlite3.connect(sys.argv[1]); db.execute('SELECT * FROM meta').fetchall(); "
        "run(['--state-dir', sys.argv[2], 'add-range', '198.51.100.7', '--fwmark', '17']); "
        "os._exit(0)"
    )
    state = vipctl.state_dir
    argv = [sys.executable, "-c", killed, str(state / "state.db"), str(state)]
    vipctl.host.run(argv, cwd=REPOSITORY)
    assert (state / "state.db-wal").stat().st_size
    (state / "state.db-shm").unlink()


def test_an_empty_state_ends_nothing_unless_forced(
    net: Lab, vipctl: Vipctl, tmp_path: Path
) -> None:
    vipctl(*ADD)
    vipctl("add-range", "198.51.100.7", "2001:db8::/64", "--fwmark", "18")
    kernel = snapshot.kernel(net.director)
    empty = Vipctl(net.director, tmp_path / "empty")
    for words in (["restore"], ["--check", "restore"], ["apply", "/dev/null"], ADD):
        code, error = empty.error(*words)
        assert code == (2 if "apply" in words else 3)
        assert code == 2 or "2 services with 3 prefixes" in error["message"]
        assert code == 2 or "--state-dir" in error["hint"]
    assert snapshot.kernel(net.director) == kernel
    assert empty("restore", "--force")["changed"] is True
    assert "203.0.113.0" not in snapshot.kernel(net.director)["nft -s list ruleset"]
    assert empty("restore")["changed"] is False


@pytest.mark.parametrize("method", ["route", "fwmark-iptables"])
def test_nor_with_other_methods(net: Lab, vipctl: Vipctl, tmp_path: Path, method: str) -> None:
    vipctl(*ADD, "--method", method)
    code, error = Vipctl(net.director, tmp_path / "empty").error("restore")
    assert code == 3
    assert ("1 service with 1 prefix" in error["message"]) is (method == "route")
    assert method == "route" or "VIPs by fwmark-iptables" in error["message"]


@pytest.mark.parametrize("content", [b"", b"no database at all" * 99, b"SQLite format 3\0"])
def test_damage_is_called_damage(net: Lab, vipctl: Vipctl, content: bytes) -> None:
    vipctl(*ADD)
    kernel = snapshot.kernel(net.director)
    (vipctl.state_dir / "state.db").write_bytes(content)
    for words in (["list-ranges"], ["restore"], ["remove-range", "203.0.113.0/24"]):
        code, error = vipctl.error(*words)
        assert code == 1
        assert "backup" in error["hint"]
        assert "format 0" not in error["message"]
        assert "empty one" not in error["hint"]
    assert snapshot.kernel(net.director) == kernel


def test_the_journal_of_a_lost_database_is_not_taken_for_that_of_the_next(
    net: Lab, vipctl: Vipctl
) -> None:
    vipctl(*ADD)
    _leave_a_journal(vipctl)
    journal = (vipctl.state_dir / "state.db-wal").read_bytes()
    vipctl("remove-service", "fwmark-17")
    shutil.rmtree(vipctl.state_dir)
    vipctl.state_dir.mkdir(mode=0o700)
    (vipctl.state_dir / "state.db-wal").write_bytes(journal)
    assert vipctl("restore")["changed"] is False
    assert vipctl("list-ranges")["ranges"] == []
