"""`vipctl watch` for members of the group: its socket, and that nobody keeps it from healing."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.running import running
from tests.harness.waiting import LIMIT, wait_until
from tests.netns import snapshot
from tests.netns.members import ANOTHER, GROUP, Site, children, run, site
from tests.netns.person import CROWD
from tests.netns.test_watch import FLUSH, Daemon
from vipctl.state import runtime
from vipctl.watch.members import NICE, PLACES

MANY = [f"198.18.{n >> 7}.{(n & 127) * 2}" for n in range(5000)]  # more than a pipe holds


@pytest.fixture
def there(vipctl: Vipctl, tmp_path: Path) -> Iterator[Site]:
    vipctl("add-range", "203.0.113.0/24", "2001:db8:1::/64", "--fwmark", "17")
    with site(vipctl, tmp_path) as found:
        yield found


@pytest.fixture
def daemon(there: Site, tmp_path: Path) -> Iterator[Daemon]:
    with there.watched(tmp_path) as running:
        wait_until(there.answers, "the group is answered")
        yield running


def test_a_member_finds_one_socket_and_nothing_else(there: Site, tmp_path: Path) -> None:
    """Whatever the umask is; and what is in its place is not followed."""
    victim = tmp_path / "victim"
    victim.touch(mode=0o600)
    os.chown(victim, 7, 7)
    run(there.enter("ln", "-s", str(victim), there.socket))
    with there.watched(tmp_path, before=("sh", "-c", 'umask 0; exec "$@"', "sh")):
        wait_until(there.answers, "the group is answered")
        listing = f"stat -c '%n %a %u %g' {runtime.DIRECTORY} {runtime.DIRECTORY}/*"
        listed = run(there.enter("sh", "-c", listing)).stdout.splitlines()
        found = dict(line.split(" ", 1) for line in listed)
        assert found.pop(runtime.DIRECTORY) == "711 0 0"
        assert found.pop(there.socket) == f"660 0 {GROUP}"
        assert sorted(found.values()) == ["600 0 0", "600 0 0"], "the lock, and root's socket"
    assert (victim.stat().st_uid, victim.stat().st_mode & 0o777) == (7, 0o600)


def test_without_the_group_all_is_as_ever(there: Site, tmp_path: Path) -> None:
    there.make_group(None)
    with there.watched(tmp_path) as daemon:
        daemon.process.send_signal(signal.SIGHUP)
        heal(there, daemon)
        assert not there.answers()
        assert run(there.enter("stat", "-c", "%a", runtime.DIRECTORY)).stdout == "700\n"
        assert ends_with(there, GROUP, 5)


def heal(there: Site, daemon: Daemon) -> None:
    before = len(daemon.said())
    there.vipctl.host.run(FLUSH)
    wait_until(lambda: len(daemon.said()) > before, "it is put back")
    assert "put back: method fwmark" in daemon.said()[-1]


def ends_with(there: Site, group: int, code: int) -> bool:
    return run(there.person("list-ranges", group=group)).code == code


def test_a_group_that_comes_later_changes_and_goes(there: Site, tmp_path: Path) -> None:
    there.make_group(None)
    with there.watched(tmp_path) as daemon:
        for number in (GROUP, ANOTHER):
            there.make_group(number)
            daemon.process.send_signal(signal.SIGHUP)
            for who in (GROUP, ANOTHER):
                wanted = 0 if who == number else 5
                wait_until(partial(ends_with, there, who, wanted), "who is a member is answered")
        there.make_group(None)
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not there.answers(), "without a group there is no socket")
        assert daemon.stop() == 0


def test_a_reload_lets_members_pass_and_interrupts_nobody(there: Site, daemon: Daemon) -> None:
    """A unit as it was before there were members has the directory's mode be another."""
    before = run(there.enter("stat", "-c", "%i", there.socket)).stdout
    run(there.enter("chmod", "0700", runtime.DIRECTORY))
    assert ends_with(there, GROUP, 5)
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(partial(ends_with, there, GROUP, 0), "members reach it again")
    assert run(there.enter("stat", "-c", "%i", there.socket)).stdout == before


def test_without_a_daemon_a_member_is_told_what_to_do(there: Site, tmp_path: Path) -> None:
    def told() -> None:
        (_, (code, printed, errors)), (_, metrics) = there.said("status", "metrics", does="both")
        assert (code, printed) == (5, "")
        assert "in this network namespace no vipctl watch reads it for the group vipctl" in errors
        assert "hint: systemctl start vipctl" in errors
        assert "vipctl_watch_up 0" in metrics[1], "it measures what it may"

    told()
    with there.watched(tmp_path) as daemon:
        wait_until(there.answers, "the group is answered")
        assert ends_with(there, GROUP, 0)
        daemon.stop()
    assert not there.answers(), "it takes its socket along"
    told()


def test_another_network_namespace_has_another_daemon(
    net: Lab, there: Site, daemon: Daemon
) -> None:
    elsewhere = ["nsenter", f"--net=/run/netns/{net.client.name}"]
    done = run([*elsewhere, *(word for word in there.person("status") if word != "--net")])
    assert done.code == 5
    assert "in this network namespace no vipctl watch reads it" in done.stderr


def test_one_that_was_killed_leaves_nothing_in_the_way(there: Site, tmp_path: Path) -> None:
    with there.watched(tmp_path) as daemon:
        wait_until(there.answers, "the group is answered")
        daemon.stop(signal.SIGKILL)
    assert there.answers(), "its socket is still there"
    assert ends_with(there, GROUP, 5)
    with there.watched(tmp_path):
        wait_until(partial(ends_with, there, GROUP, 0), "the next one answers")


def test_a_crowd_is_answered_a_few_at_a_time_and_the_daemon_heals(
    there: Site, daemon: Daemon, tmp_path: Path
) -> None:
    whole, printed = snapshot.unordered(there.vipctl.host), tmp_path / "printed"
    at_once = [0]

    def is_over() -> bool:
        at_once.append(len(children(daemon)))
        return crowd.poll() is not None

    with printed.open("w") as out, running(there.person(does="crowd"), stdout=out) as crowd:
        wait_until(lambda: len(children(daemon)) > 1, "the first are answered")
        heal(there, daemon)
        assert crowd.poll() is None, "while others still wait"
        wait_until(is_over, "all are answered", 4 * LIMIT)
    found = [json.loads(line) for line in printed.read_text().splitlines()]
    assert len(found) == CROWD
    assert [one for one in found if "error" in one] == []
    assert 1 < max(at_once) <= PLACES
    assert snapshot.unordered(there.vipctl.host) == whole
    wait_until(lambda: not children(daemon), "all have ended")


def test_who_calls_and_asks_nothing_delays_no_healing(there: Site, daemon: Daemon) -> None:
    whole = snapshot.unordered(there.vipctl.host)
    with running(there.person(does="hang")) as flood:
        wait_until(lambda: len(children(daemon)) == PLACES, "all places are taken")
        wait_until(lambda: all(map(is_behind, children(daemon))), "the daemon comes before them")
        heal(there, daemon)
        assert flood.poll() is None
    assert snapshot.unordered(there.vipctl.host) == whole
    assert ends_with(there, GROUP, 0), "others are answered again"


def is_behind(process: str) -> bool:
    """In the line for the processor."""
    try:
        return os.getpriority(os.PRIO_PROCESS, int(process)) == NICE
    except ProcessLookupError:
        return False


def test_who_looks_away_keeps_nobody_from_the_state(there: Site, daemon: Daemon) -> None:
    """And who does not wait keeps no place."""
    there.vipctl("add-range", *MANY, "--fwmark", "17")
    argv = there.person("--json", "list-ranges", does="look_away")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with running(argv, text=True, **pipes) as person:
        assert person.stdin
        assert person.stdout
        assert person.stdout.readline() == '"full"\n'
        wait_until(lambda: len(children(daemon)) == PLACES, "all places are taken")
        there.vipctl("remove-range", *MANY)
        heal(there, daemon)
        assert len(children(daemon)) == PLACES
        person.stdin.write("go\n")
        person.stdin.flush()
        wait_until(lambda: not children(daemon), "they end, as nobody waits for them")
        assert person.poll() is None, "who could still read"
