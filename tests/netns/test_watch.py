"""`vipctl watch`: whatever others do to what is vipctl's is undone, and said once."""

import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.harness.running import running
from tests.harness.waiting import LIMIT, wait_until
from tests.netns import processes, snapshot
from tests.netns.damage.cases import CASES
from tests.netns.drift import Case, Drift
from vipctl.operate.watching import Looked, Watching
from vipctl.services.change import Change
from vipctl.state.directory import lock
from vipctl.state.store import Store

RANGES = ("203.0.113.0/24", "2001:db8:1::/64")
FLUSH = ["nft", "flush", "ruleset"]
DELETE = ["nft", "delete element inet vipctl v4_24_1024 { 203.0.113.0 }"]
WHILE = 2.0  # seconds that a command is at work


def announced(name: str, case: Case) -> list[str]:
    """What a daemon learns of, be it by what the kernel tells, be it by looking."""
    return [*case.commonest, *(case.unseen if name != "fwmark-iptables" else ())]


class Daemon:
    """A running `vipctl watch`, and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self.log = process, log

    def said(self) -> list[str]:
        return self.log.read_text().splitlines()

    def wait_for(self, text: str, limit: float = LIMIT) -> None:
        wait_until(lambda: any(text in line for line in self.said()), f"it says {text!r}", limit)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def watching(
    vipctl: Vipctl,
    log: Path,
    *words: str,
    command: Sequence[str] = (),
    inside: Sequence[str] = (),
    limit: float = LIMIT,
) -> Iterator[Daemon]:
    """It runs, and has looked for the first time; `words` come before the command."""
    entered = ["ip", "netns", "exec", vipctl.host.name, *inside]
    argv = [*entered, *vipctl.argv, *words, "watch", *command]
    with log.open("w") as stderr, running(argv, stderr=stderr, text=True) as process:
        daemon = Daemon(process, log)
        daemon.wait_for("watching", limit)
        yield daemon


@pytest.mark.parametrize(
    ("drift", "words"),
    [
        pytest.param(case, words, id=f"{name}-{words}")
        for name, case in CASES.items()
        for words in announced(name, case)
    ],
    indirect=["drift"],
    scope="module",
)
def test_what_others_do_is_undone(drift: Drift, tmp_path: Path, words: str) -> None:
    before = drift.look()
    with watching(drift.vipctl, tmp_path / "log") as daemon:
        drift.damage(words)
        daemon.wait_for("put back: method")
        drift.assert_whole(before)
        assert daemon.stop() == 0
    drift.assert_whole(before)


def test_who_did_it_is_said(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    with watching(vipctl, tmp_path / "log") as daemon:
        net.director.run(FLUSH)
        daemon.wait_for("put back: method fwmark (the kernel told of table vipctl by nft[")


def test_commands_and_tables_of_others_are_no_matter(
    net: Lab, vipctl: Vipctl, tmp_path: Path
) -> None:
    with watching(vipctl, tmp_path / "log") as daemon:
        vipctl("add-range", *RANGES, "--fwmark", "17")
        net.director.run(["nft", "add table inet other; add set inet other s {type mark;}"])
        vipctl("set-service", "fwmark-17", "--ping")
        vipctl("remove-range", RANGES[0])
        net.director.run(["nft", "flush table inet other; delete table inet other"])
        time.sleep(3)  # more than it waits between two looks
        assert vipctl("restore")["changed"] is False
        assert daemon.said() == ["vipctl: watching"]


def test_check_only_reports(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    with watching(vipctl, tmp_path / "log", "--check") as daemon:
        net.director.run(FLUSH)
        damaged = snapshot.unordered(net.director)
        daemon.wait_for("differs, and is left so: method fwmark")
        assert snapshot.unordered(net.director) == damaged
        vipctl("restore")
        daemon.wait_for("no longer: differs, and is left so: method fwmark")


def test_check_goes_on_to_report_a_missing_prefix(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    """Later looks do not compare prefixes, and so cannot say that it is no longer missing."""
    vipctl("add-range", *RANGES, "--fwmark", "17")
    with watching(vipctl, tmp_path / "log", "--check") as daemon:
        net.director.run(DELETE)
        daemon.wait_for("differs, and is left so: method fwmark")
        time.sleep(5)  # two looks
        assert not [line for line in daemon.said() if "no longer" in line]
        vipctl("restore")
        daemon.wait_for("no longer: differs, and is left so: method fwmark")


def test_a_command_at_work_is_no_difference(net: Lab, vipctl: Vipctl) -> None:
    """What its change has not come to yet is looked at again when the command is through."""
    vipctl("add-range", *RANGES, "--fwmark", "17")
    daemon = Watching(vipctl.state_dir, check=True)
    with ThreadPoolExecutor(1) as pool:
        with net.director, lock(vipctl.state_dir), Store.open(vipctl.state_dir) as store:
            before = store.seals(), store.sysctls(), store.epochs()
            store.begin(Change(), [], store.sysctls())
            looked = pool.submit(_in, net.director, daemon)
            with pytest.raises(TimeoutError):
                looked.result(WHILE)
            store.finish(*before)
        assert looked.result() == Looked(frozenset())


def _in(host: Namespace, daemon: Watching) -> Looked:
    with host:
        return daemon.heal(())


@pytest.mark.parametrize("damage", [FLUSH, DELETE], ids=["all", "a prefix"])
def test_it_does_not_fight(net: Lab, vipctl: Vipctl, tmp_path: Path, damage: list[str]) -> None:
    """Five times are enough to be told of it, and to be left in peace for a while.

    Nobody tells of it meanwhile. It is known all the same, and put back in the end.
    """
    vipctl("add-range", *RANGES, "--fwmark", "17")
    whole = snapshot.unordered(net.director)
    with watching(vipctl, tmp_path / "log") as daemon:
        for _ in range(5):
            net.director.run(damage)
            wait_until(lambda: snapshot.unordered(net.director) == whole, "it is put back")
        daemon.wait_for("changed again and again, and put back less often now: method fwmark")
        # Where looking takes as long as the first pause, a later one is longer.
        assert any(is_left_for_a_second(net, damage, whole) for _ in range(4))
        wait_until(lambda: snapshot.unordered(net.director) == whole, "it is put back later")


def is_left_for_a_second(net: Lab, damage: list[str], whole: dict[str, list[str]]) -> bool:
    net.director.run(damage)
    damaged = snapshot.unordered(net.director)
    time.sleep(1)
    if damaged != whole and snapshot.unordered(net.director) == damaged:
        return True
    wait_until(lambda: snapshot.unordered(net.director) == whole, "it is put back")
    return False


def test_there_is_one(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    with watching(vipctl, tmp_path / "log"):
        code, printed = processes.run(vipctl, "watch")
    assert code == 3
    assert "runs already" in printed["error"]["message"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_its_end_changes_nothing(
    net: Lab, vipctl: Vipctl, tmp_path: Path, number: signal.Signals
) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    before = snapshot.unordered(net.director)
    with watching(vipctl, tmp_path / "log") as daemon:
        assert daemon.stop(number) == (-9 if number is signal.SIGKILL else 0)
    assert snapshot.unordered(net.director) == before
    with watching(vipctl, tmp_path / "log"):
        net.director.run(FLUSH)
        wait_until(lambda: snapshot.unordered(net.director) == before, "the next one puts it back")
