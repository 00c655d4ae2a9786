"""Commands and `vipctl watch`: they tell it of changes, ask it, and work whatever it does."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.harness.waiting import wait_until
from tests.netns import processes, snapshot
from tests.netns.test_watch import FLUSH, RANGES, Daemon, watching
from vipctl.errors import Refused
from vipctl.state import runtime
from vipctl.state.runtime import Link
from vipctl.watch.callers import Callers

RARELY = ("--every", "3600")
CONTAINED = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
HEARD_IN_VAIN = 60_000  # events, more than can wait for a daemon that does not read them


@pytest.fixture
def ear(net: Lab) -> Iterator[Link]:
    """What a daemon would hear of commands."""
    with net.director, runtime.serving() as link:
        link.setblocking(False)
        yield link


def heard(ear: Link) -> list[bytes]:
    found = []
    try:
        while True:
            found.append(ear.recv(100))
    except BlockingIOError:
        return found


def watched(vipctl: Vipctl) -> dict[str, object] | None:
    found: dict[str, object] | None = vipctl("status")["watch"]
    return found


def signalled(daemon: Daemon, number: signal.Signals) -> None:
    daemon.process.send_signal(number)


def stopped(daemon: Daemon) -> None:
    """At a moment when it reads nothing: it would keep others from the state."""

    def is_harmless() -> bool:
        signalled(daemon, signal.SIGSTOP)
        wait_until(lambda: "State:\tT" in (process / "status").read_text(), "it stops")
        if not locks():
            return True
        signalled(daemon, signal.SIGCONT)
        return False

    def locks() -> list[str]:
        held = map(str.split, Path("/proc/locks").read_text().splitlines())
        return [words[0] for words in held if "POSIX" in words and process.name in words]

    process = Path("/proc", str(daemon.process.pid))
    wait_until(is_harmless, "it holds nothing")


def test_changes_are_told_and_nothing_else(net: Lab, vipctl: Vipctl, ear: Link) -> None:
    vipctl("--check", "add-range", *RANGES, "--fwmark", "17")
    assert heard(ear) == []
    vipctl("add-range", *RANGES, "--fwmark", "17")
    assert heard(ear) == [runtime.CHANGED]
    vipctl("add-range", *RANGES, "--fwmark", "17")
    vipctl("list-ranges")
    vipctl.error("remove-range", "203.0.113.1", "--service", "none")
    assert heard(ear) == []
    net.director.run(FLUSH)
    vipctl("restore")
    assert heard(ear) == [runtime.CHANGED], "what was restored is a change too"


def test_status_tells_of_the_daemon(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    assert watched(vipctl) is None
    assert "watch: nobody" in vipctl.text("status").stdout
    with watching(vipctl, tmp_path / "log") as daemon:
        found = watched(vipctl)
        assert found
        assert found["ours"] is True
        assert found["last"] is None
        assert found["pid"] == daemon.process.pid
        net.director.run(FLUSH)
        daemon.wait_for("put back")
        said = vipctl.text("status").stdout
        assert f"watch: process {daemon.process.pid} since 20" in said
        assert "put back: method fwmark (the kernel told of table vipctl by nft" in said
        other = Vipctl(net.director, tmp_path / "other")
        assert (
            f"another state directory is watched, {vipctl.state_dir}" in other.text("status").stdout
        )
        assert daemon.stop() == 0
    assert watched(vipctl) is None


@pytest.mark.parametrize("by", ["a command", "a reload"])
def test_it_looks_when_it_is_told(net: Lab, vipctl: Vipctl, tmp_path: Path, by: str) -> None:
    """Changes of legacy tables are none that the kernel announces."""
    vipctl("add-range", *RANGES, "--fwmark", "17", "--method", "fwmark-iptables")
    whole = saved(net.director)
    with watching(vipctl, tmp_path / "log", command=RARELY) as daemon:
        net.director.run(["iptables-legacy", "-w", "-t", "mangle", "-F"])
        assert saved(net.director) != whole
        if by == "a reload":
            signalled(daemon, signal.SIGHUP)
        else:
            with net.director:
                runtime.tell(runtime.CHANGED)
        daemon.wait_for("put back: method fwmark-iptables")
        assert saved(net.director) == whole
        assert daemon.process.poll() is None


def saved(host: Namespace) -> list[str]:
    lines = host.run(["iptables-legacy-save"]).stdout.splitlines()
    return [line.partition("[")[0] for line in lines if not line.startswith("#")]


def test_commands_and_its_own_work_are_nobodys_doing(
    net: Lab, vipctl: Vipctl, tmp_path: Path
) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    with watching(vipctl, tmp_path / "log") as daemon:
        for number in range(1, 4):
            stopped(daemon)
            vipctl("add-range", f"192.0.2.{number}", "--fwmark", "17")
            net.director.run(FLUSH)
            signalled(daemon, signal.SIGCONT)
            wait_until(lambda n=number: len(daemon.said()) > n, "it is put back")  # type: ignore[misc]
        assert len(daemon.said()) == 4
        for line in daemon.said()[1:]:
            assert "put back: method fwmark (the kernel told of table vipctl by nft[" in line
            assert line.count("[") == 1, line


def test_where_processes_have_other_numbers_they_are_nobodys_doing_either(
    net: Lab, vipctl: Vipctl, tmp_path: Path
) -> None:
    """As in a container: the kernel counts them in the namespace of its own."""
    vipctl("add-range", *RANGES, "--fwmark", "17")
    with watching(vipctl, tmp_path / "log", inside=CONTAINED) as daemon:
        for number in range(1, 6):
            vipctl("add-range", f"192.0.2.{number}", "--fwmark", "17")
            net.director.run(FLUSH)
            daemon.wait_for("put back")
            wait_until(lambda n=number: len(daemon.said()) > n, "it is put back")  # type: ignore[misc]
        assert not [line for line in daemon.said() if "python" in line or "vipctl[" in line]


def test_who_told_of_a_change_is_known_for_two_looks(net: Lab, tmp_path: Path, ear: Link) -> None:
    """The kernel's word of it may be read later than the command's own."""
    callers = Callers(ear, tmp_path, check=False)
    with net.director:
        runtime.tell(runtime.CHANGED)
    assert callers.changed() == set()
    assert callers.receive() == {runtime.CHANGED}
    assert [callers.changed() for _ in range(3)] == [{os.getpid()}, {os.getpid()}, set()]


def test_there_is_one_for_a_network_namespace(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    other = Vipctl(net.director, tmp_path / "other")
    with watching(vipctl, tmp_path / "log") as daemon:
        for second in (vipctl, other):
            code, printed = processes.run(second, "watch")
            assert code == 3
            message = printed["error"]["message"]
            assert "runs already in this network namespace" in message
            assert f"for {vipctl.state_dir} (process {daemon.process.pid})" in message
        elsewhere = Vipctl(net.client, tmp_path / "elsewhere")
        with watching(elsewhere, tmp_path / "log2"):
            pass


def test_commands_go_on_while_it_hangs(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    """And it misses nothing, even if the kernel could not keep all events for it."""
    vipctl("add-range", *RANGES, "--fwmark", "17")
    with watching(vipctl, tmp_path / "log", command=RARELY) as daemon:
        stopped(daemon)
        for number in range(1, 20):  # more than wait in its socket: net.unix.max_dgram_qlen
            vipctl("add-range", f"192.0.2.{2 * number}", "--fwmark", "17")
        assert watched(vipctl) == {"answers": False}
        assert "the daemon runs, but does not answer" in vipctl.text("status").stdout
        whole = snapshot.unordered(net.director)
        both = "rule add pref 99 lookup 7\nrule del pref 99\n"
        net.director.run(["ip", "-batch", "-"], input=both * (HEARD_IN_VAIN // 2))
        net.director.run(["nft", "delete element inet vipctl v4_24_1024 { 203.0.113.0 }"])
        signalled(daemon, signal.SIGCONT)
        daemon.wait_for("put back: method fwmark (the kernel told of")
        assert "more than could be heard" in daemon.said()[-1]
        wait_until(lambda: snapshot.unordered(net.director) == whole, "all is there")
        assert watched(vipctl)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_next_one_makes_up_for_what_was_missed(
    net: Lab, vipctl: Vipctl, tmp_path: Path, number: signal.Signals
) -> None:
    """An upgrade stops one and starts another; so may a week go by."""
    vipctl("add-range", *RANGES, "--fwmark", "17")
    with watching(vipctl, tmp_path / "log") as daemon:
        first = watched(vipctl)
        daemon.stop(number)
    assert watched(vipctl) is None
    vipctl("add-range", "192.0.2.0/24", "--fwmark", "17")
    vipctl("remove-range", RANGES[1])
    whole = snapshot.unordered(net.director)
    net.director.run(["nft", "delete element inet vipctl v4_24_1024 { 192.0.2.0 }"])
    net.director.ip("route flush table 30320")
    with watching(vipctl, tmp_path / "log") as daemon:
        assert daemon.said()[0].startswith("vipctl: put back: method fwmark")
        assert snapshot.unordered(net.director) == whole
        second = watched(vipctl)
        assert first
        assert second
        assert second["pid"] != first["pid"]


def test_its_socket_is_roots_alone(
    net: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with net.director, runtime.serving() as link:
        assert Path(runtime.DIRECTORY).stat().st_mode & 0o066 == 0
        assert Path(link.getsockname()).stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(runtime, "DIRECTORY", str(tmp_path / "open"))
    (tmp_path / "open").mkdir(mode=0o777)
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(Refused, match="by others than root"), runtime.serving():
        pass
