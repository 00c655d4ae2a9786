"""The group `vipctl` reads without root: what root reads, printed as for root, and nothing else."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import terminal
from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.running import running
from tests.harness.waiting import wait_until
from tests.netns import snapshot
from tests.netns.members import ANOTHER, Site, run, site
from tests.netns.person import request
from tests.netns.test_watch import Daemon
from vipctl.cli.base import group
from vipctl.cli.members.reading import READING

RANGES = ("203.0.113.0/24", "2001:db8:1::/64")
MANY = [f"198.18.{n >> 7}.{(n & 127) * 2}" for n in range(5000)]  # more than a pipe holds
# Every command and option that members have.
READ = [
    "status", "status fwmark-17 web", "status none", "status --exit-code", "-q status",
    "--json status", "list-services", "list-services --json", "list-ranges",
    "list-ranges --service web", "--json list-ranges --service none", "--json list-ranges",
    "list-checks", "--json list-checks --service web", "lookup 203.0.113.7 192.0.2.1",
    "lookup 203.0.113.0/24", "--json lookup nonsense", "explain 203.0.113.7",
    "explain 2001:db8:1::7 tcp/80 --in eth1", "--json explain 203.0.113.7",
    "explain 203.0.113.7 tcp/80 --from 10.0.1.2 --in ../eth1", "explain 192.0.2.1 -v",
    "doctor", "doctor --json", "metrics", "metrics --json", "--check status", "status --help",
]  # fmt: skip
# Of every other command, what would be done if it were not refused.
REFUSED = [
    "activate", "add-port web tcp/443", "add-range 192.0.2.0/24 --service web",
    "add-real web 10.0.1.11", "add-service new", "announce --print bird", "apply {file}",
    "configure bird --into {file}", "deactivate", "diff {file}", "drain-real web 10.0.1.11",
    "export", "import ipvsadm {file}", "log", "move-range 203.0.113.0/25 --to web",
    "remove-port web tcp/80", "remove-range 203.0.113.0/25", "remove-real web 10.0.1.11",
    "remove-service web", "remove-sync", "rename-service web new",
    "replace-real web 10.0.1.11 10.0.1.12", "restore", "set-director --tcp-timeout 60",
    "set-real web 10.0.1.11,weight=2", "set-service web --ping", "set-sync --interface eth1",
    "sync --listen 10.0.1.1", "undrain-real web 10.0.1.11", "watch",
    "status --watch", "explain 203.0.113.7 --probe", "explain 203.0.113.7 --watch 1s",
    "metrics --textfile {file}", "status --state-dir {file}", "--state-dir=/ list-ranges",
]  # fmt: skip


@pytest.fixture(scope="module")
def there(shared: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A director with two services."""
    directory = tmp_path_factory.mktemp("members")
    vipctl = Vipctl(shared.director, directory / "state")
    vipctl("add-range", *RANGES, "--fwmark", "17")
    vipctl("add-service", "web", "--port", "tcp/80")
    with site(vipctl, directory) as found:
        yield found


@pytest.fixture(scope="module")
def daemon(there: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with there.watched(tmp_path_factory.mktemp("daemon")) as running:
        wait_until(there.answers, "the group is answered")
        yield running


def test_every_command_is_in_one_of_the_lists() -> None:
    def names(lines: list[str]) -> set[str]:
        return {word for line in lines for word in line.split() if word in every}

    every = set(group.list_commands(None))  # type: ignore[arg-type]
    assert names(READ) == set(READING)
    assert names(REFUSED) >= every - set(READING)


def test_a_member_gets_what_root_gets(there: Site, daemon: Daemon) -> None:
    found = there.said(*READ, does="both")
    for line, (by_root, by_member) in zip(READ, found, strict=True):
        assert by_member == by_root, line
        code, printed, errors = by_root
        assert bool(printed + errors) != ("-q" in line), line
        assert code in (0, 2, 3), line
    assert daemon.said() == ["vipctl: watching"], "nothing is said of each"


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}, {"COLUMNS": "30"}, {"TERM": "dumb"}])
def test_on_a_terminal_too(there: Site, daemon: Daemon, variables: dict[str, str]) -> None:
    """As wide, and in the same colours."""
    expected = terminal.printed(there.vipctl.host, there.command("status"), 50, **variables)
    found = terminal.printed(there.vipctl.host, there.person("status"), 50, **variables)
    assert found == expected
    coloured = any("\x1b[" in line for line in found[1])
    assert coloured == (variables.keys() <= {"COLUMNS"})


def test_as_its_locale_has_characters(there: Site, daemon: Daemon) -> None:
    for encoding in ("utf-8", "latin-1"):
        words, plain = ("explain", "203.0.113.7"), {"PYTHONIOENCODING": encoding}
        expected = there.by_root(*words, **plain)
        assert there.by_member(*words, **plain) == expected
        assert ("✓" in expected.stdout) == (encoding == "utf-8")


@pytest.mark.parametrize(
    "redirection", ["> {0} 2>&1", "> {0} 2> {0}.errors", "> /dev/full", "> /dev/null", "2>&1 | cat"]
)
@pytest.mark.parametrize("words", ["--json list-ranges", "status none"])
def test_it_prints_where_it_is_to_be_printed(
    there: Site, daemon: Daemon, tmp_path: Path, redirection: str, words: str
) -> None:
    found = []
    for who, command in (("root", there.command), ("member", there.person)):
        said = redirection.format(tmp_path / f"{who}-printed")
        done = run(["sh", "-c", f'exec "$@" {said}', "sh", *command(*words.split())])
        files = sorted(tmp_path.glob(f"{who}-*"))
        found.append((done, [one.read_text() for one in files]))
    assert found[0] == found[1]


def test_a_socket_is_as_good(there: Site, daemon: Daemon) -> None:
    """As systemd and node.js have it for standard output."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with running(there.person("list-ranges"), stdout=theirs) as process:
            assert process.wait(60) == 0
        theirs.close()
        with ours.makefile() as printed:
            assert printed.read() == there.by_root("list-ranges").stdout


ONE = """
import sys
from vipctl.cli.members.asking import _copies
found = _copies()
sys.exit(len({id(copy) for copy in found.values()}))
"""


@pytest.mark.parametrize(("redirection", "copies"), [("2>&1", 1), ("2> {0}", 2)])
def test_what_is_one_file_stays_in_order(tmp_path: Path, redirection: str, copies: int) -> None:
    said = f"> {tmp_path}/1 {redirection.format(tmp_path / 'file')}"
    assert run(["sh", "-c", f'"$@" {said}', "sh", sys.executable, "-c", ONE]).code == copies


@pytest.mark.parametrize("output", [1, 2])
def test_what_is_closed_is_no_other_file(there: Site, daemon: Daemon, output: int) -> None:
    there.vipctl("add-range", *MANY, "--service", "web")
    for line in ("--json list-ranges", "status none"):
        ((by_root, by_member),) = there.said(line, str(output), does="closed")
        assert by_member == by_root
    there.vipctl("remove-range", *MANY)


def test_who_reads_no_further_is_not_told_of_it(there: Site, daemon: Daemon) -> None:
    there.vipctl("add-range", *MANY, "--service", "web")
    with running(there.person("--json", "list-ranges"), stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.read(9)
        process.stdout.close()
        assert process.wait(60) == 0
    there.vipctl("remove-range", *MANY)


def test_what_is_refused_changes_nothing(there: Site, daemon: Daemon, tmp_path: Path) -> None:
    """By whatever program somebody asks."""
    file = tmp_path / "file"
    file.write_text("services: {}\n")
    lines, before = [line.format(file=file) for line in REFUSED], state(there)
    for line, (code, printed, errors) in zip(lines, there.said(*lines, does="asked"), strict=True):
        assert (code, printed) == (5, ""), (line, errors)
        assert "needs root" in errors or f"reads {there.vipctl.state_dir} for" in errors
        assert "use sudo" in errors
    assert state(there) == before
    assert file.read_text() == "services: {}\n"
    assert daemon.said() == ["vipctl: watching"]


def state(there: Site) -> tuple[object, ...]:
    return snapshot.kernel(there.vipctl.host), snapshot.directory(there.vipctl.state_dir)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("add-range 192.0.2.0/24 --fwmark 17", 5, "needs root"),
        ("status --watch", 5, "status --watch needs root"),
        ("explain 203.0.113.7 --probe", 5, "explain --probe needs root"),
        ("--state-dir /root/another status", 5, "and not /root/another"),
        ("status --bogus", 2, "No such option"),
        (f"lookup {'203.0.113.7 ' * 5000}", 2, "arguments may have 64 KiB"),
    ],
)
def test_a_member_is_told_so(there: Site, daemon: Daemon, line: str, code: int, said: str) -> None:
    before = state(there)
    done = there.by_member("--json", *line.split())
    error = json.loads(done.stdout)["error"]
    assert (done.code, said in error["message"], bool(error["hint"])) == (code, True, True), error
    assert state(there) == before


def test_nonsense_has_no_answer(there: Site, daemon: Daemon) -> None:
    found = there.said(does="nonsense")
    assert len(found) > 10
    assert set(found) == {0}
    assert there.by_member("list-ranges") == there.by_root("list-ranges")
    assert daemon.said() == ["vipctl: watching"]
    assert daemon.process.poll() is None


def test_who_is_no_member_is_refused_by_the_kernel(there: Site, daemon: Daemon) -> None:
    assert there.said(does="connect", group=ANOTHER) == [errno.EACCES]
    lines = ("status", "list-ranges", "lookup 203.0.113.7", "explain 203.0.113.7", "doctor")
    *found, (_, doctor) = there.said(*lines, does="both", group=ANOTHER)
    for _, (code, printed, errors) in found:
        assert (code, printed) == (5, "")
        assert f"the state in {there.vipctl.state_dir} is root's" in errors
        assert "or be of the group vipctl" in errors
        assert "vipctl watch" in errors
    assert "run it as root" in doctor[1], "it looks at what it may"


SHORT = """
import sys
from vipctl.cli.members import answering
answering.LIMIT = 1
answering.answer(sys.argv[1])
"""


def test_what_takes_too_long_is_ended(there: Site) -> None:
    there.vipctl("add-range", *MANY, "--service", "web")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    directory = str(there.vipctl.state_dir)
    argv = there.enter(sys.executable, "-c", SHORT, directory)
    unread, output = os.pipe()
    with ours, running(argv, stdin=theirs) as process:
        theirs.close()
        ask = request(["--state-dir", directory, "--json", "list-ranges"])
        socket.send_fds(ours, [ask()], [output, output])
        os.close(output)
        assert process.wait(60) == -signal.SIGALRM
        assert ours.recv(1) == b""
    os.close(unread)
    there.vipctl("remove-range", *MANY)
