"""`status --watch` in a real terminal; rates of IPVS: tests/vm/test_live.py."""

import json
import os
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.tmux import Screen, screen
from tests.harness.waiting import wait_until
from tests.netns.packets import transmit, udp

HEIGHT = 20
COLUMNS = (60, 80, 200)
MARKS = (17, 18, 110)
HELP = "q quit"


@pytest.fixture
def served(net: Lab, vipctl: Vipctl) -> Iterator[Vipctl]:
    """Three services, of which the last gets most packets, and the first none."""
    for number, mark in enumerate(MARKS):
        vipctl("add-range", f"198.51.100.{number}", "--fwmark", str(mark), "--method", "fwmark")
    packets = [udp("10.0.0.2", f"198.51.100.{n}", 9) for n in range(len(MARKS)) for _ in range(n)]
    ended = Event()

    def flood() -> None:
        while not ended.wait(0.02):
            transmit(net.client, net.director, *packets)

    thread = Thread(target=flood)
    thread.start()
    yield vipctl
    ended.set()
    thread.join()


@contextmanager
def watching(
    vipctl: Vipctl, directory: Path, columns: int, *words: str, **variables: str
) -> Iterator[Screen]:
    """The command, as somebody types it; its screen has come."""
    with screen(vipctl.host, directory / "tmux", columns, HEIGHT, **variables) as found:
        found.type("echo before; " + shlex.join([*vipctl.argv, "status", "--watch", *words]))
        found.type("; echo ended with $?")
        found.press("Enter")
        found.wait_for(HELP)
        yield found


def assert_left(found: Screen) -> None:
    """The shell has its terminal back, with what was there before."""
    found.wait_for("ended with 0")
    assert "before" in found.lines()
    assert HELP not in found.text()
    found.type("stty -a | tr ' ;' '\\n' | grep -cE '^(icanon|echo|isig)$'")
    found.press("Enter")
    wait_until(lambda: "3" in found.lines(), f"it echoes what is typed: {found.text()}")
    assert found.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}").split() == [
        "0",
        "1",
    ]


def names(found: Screen) -> list[str]:
    return [line.split()[0] for line in found.lines() if line.startswith("fwmark-")]


def rates(found: Screen) -> dict[str, str]:
    """What is left over; the first sample alone has none."""
    rows = ([*line.split(), "-"] for line in found.lines() if line.startswith("fwmark-"))
    return {name: left for name, left, *_ in rows}


def counting(found: Screen) -> bool:
    """Whether there are rates of what is sent."""
    return rates(found).get("fwmark-110", "-") not in ("-", "0")


@pytest.mark.parametrize("columns", COLUMNS)
def test_it_shows_rates_and_leaves_the_terminal_as_it_was(
    served: Vipctl, tmp_path: Path, columns: int
) -> None:
    with watching(served, tmp_path, columns, LC_ALL="C.UTF-8") as found:
        wait_until(lambda: counting(found), "packets are counted")
        assert names(found) == ["fwmark-110", "fwmark-18", "fwmark-17"]
        lines = found.lines()
        assert len(lines) == HEIGHT
        assert max(map(len, lines)) <= columns
        assert lines[0].split()[1:3] == ["3", "services"]
        assert lines[1].split()[:3] == ["SERVICE", "LEFT", "OVER/s"]
        assert rates(found)["fwmark-17"] == "0"
        assert columns == 60 or "█" in found.text()
        found.press("q")
        assert_left(found)


@pytest.mark.parametrize("key", ["C-c", "q"])
def test_it_can_be_left_while_something_is_typed_too(
    served: Vipctl, tmp_path: Path, key: str
) -> None:
    with watching(served, tmp_path, 80) as found:
        found.type("/18")
        wait_until(lambda: names(found) == ["fwmark-18"], "the others are left out")
        if key == "q":
            found.press("Enter")
        found.press(key)
        assert_left(found)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_leave_the_terminal_as_it_was(
    served: Vipctl, tmp_path: Path, number: signal.Signals
) -> None:
    with watching(served, tmp_path, 80) as found:
        (pid,) = (p for p in served.host.processes() if "--watch" in _words(p))
        os.kill(pid, number)
        assert_left(found)


def _words(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def test_keys_sort_and_filter(served: Vipctl, tmp_path: Path) -> None:
    with watching(served, tmp_path, 80) as found:
        wait_until(lambda: counting(found), "packets are counted")
        for key, wanted in (
            ("n", ["fwmark-17", "fwmark-18", "fwmark-110"]),
            ("r", ["fwmark-110", "fwmark-18", "fwmark-17"]),
            ("l", ["fwmark-17", "fwmark-18", "fwmark-110"]),
            ("r", ["fwmark-110", "fwmark-18", "fwmark-17"]),
        ):
            found.press(key)
            wait_until(lambda: names(found) == wanted, f"{key}: {wanted}")  # noqa: B023
        found.type("/110")
        wait_until(lambda: names(found) == ["fwmark-110"], "the others are left out")
        assert "/110_" in found.text()
        found.press("Escape")
        wait_until(lambda: len(names(found)) == 3, "all are there")


def test_it_follows_the_size_of_the_terminal(served: Vipctl, tmp_path: Path) -> None:
    with watching(served, tmp_path, 200) as found:
        found.resize(60, 12)
        wait_until(
            lambda: len(found.lines()) == 12 and found.lines()[-1].startswith(HELP), "it is lower"
        )
        assert "fwmark-110" in names(found)


def test_what_others_change_shows(served: Vipctl, tmp_path: Path) -> None:
    with watching(served, tmp_path, 80) as found:
        served("remove-service", "fwmark-17")
        served("add-range", "198.51.100.9", "--fwmark", "19", "--method", "route")
        wait_until(lambda: set(names(found)) == {f"fwmark-{n}" for n in (18, 19, 110)}, "it is so")


def test_what_cannot_be_read_is_said_until_it_can(served: Vipctl, tmp_path: Path) -> None:
    with watching(served, tmp_path, 200) as found:
        wait_until(lambda: counting(found), "packets are counted")
        for mode, wrong in ((0o777, True), (0o700, False)):
            served.state_dir.chmod(mode)
            for file in served.state_dir.iterdir():
                os.utime(file)
            wait_until(
                lambda: ("others" in found.lines()[0]) is wrong,  # noqa: B023
                f"others may write there: {wrong}; {found.lines()[0]}",
            )
            assert len(names(found)) == len(MARKS)
        found.press("q")
        assert_left(found)


def test_some_services(served: Vipctl, tmp_path: Path) -> None:
    with watching(served, tmp_path, 80, "fwmark-18", "fwmark-17") as found:
        wait_until(lambda: len(names(found)) == 2, "two are there")
        assert "fwmark-110" not in found.text()


def test_a_thousand_services_are_scrolled_through(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    """What is drawn is what is in sight; a key is answered before the next sample is there."""
    forms = {
        f"s{n}": {"ranges": [f"198.{18 + n // 250}.{n % 250}.1"], "method": "fwmark"}
        for n in range(1000)
    }
    path = tmp_path / "many.json"
    path.write_text(json.dumps({"services": forms}))
    vipctl("apply", str(path))
    with watching(vipctl, tmp_path, 100) as found:
        found.wait_for("1,000 services")
        found.press("n")
        found.wait_for("\ns0 ")
        for key, text in (("PageDown", "\ns17 "), ("End", "\ns999 "), ("Home", "\ns0 ")):
            found.press(key)
            found.wait_for(text)
        found.type("/s77")
        wait_until(lambda: found.lines()[-1] == "/s77_" and "\ns77 " in found.text(), "it is typed")
        found.press("C-c")
        assert_left(found)


@pytest.mark.parametrize(
    ("words", "environment"),
    [((), {"TERM": "dumb"}), (("--exit-code",), {}), (("--json",), {}), (("-q",), {})],
)
def test_where_it_cannot(
    vipctl: Vipctl, tmp_path: Path, words: tuple[str, ...], environment: dict[str, str]
) -> None:
    with screen(vipctl.host, tmp_path / "tmux", 80, HEIGHT, **environment) as found:
        found.type(shlex.join([*vipctl.argv, "status", "--watch", *words]) + "; echo ended with $?")
        found.press("Enter")
        found.wait_for("ended with 2")
        assert "--watch" in found.text()


def test_without_a_terminal_it_is_refused(vipctl: Vipctl) -> None:
    done = vipctl.host.run([*vipctl.argv, "status", "--watch"], check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --watch needs a terminal")


def test_who_is_not_there_is_said_as_ever(served: Vipctl, tmp_path: Path) -> None:
    with screen(served.host, tmp_path / "tmux", 80, HEIGHT) as found:
        words = shlex.join([*served.argv, "status", "--watch", "nobody"])
        found.type(f"{words}; echo ended with $?")
        found.press("Enter")
        found.wait_for("ended with 3")
        assert "error: there is no service 'nobody'" in found.text()
