"""`vipctl watch --alive`: a device that is up while the director is fit, and dies with it."""

import signal
import time
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.waiting import wait_until
from tests.netns import processes
from tests.netns.test_watch import Daemon, watching

RANGE, MARK = "203.0.113.0/24", "17"
ALIVE = ("--alive", "vipctl0")


def is_up(net: Lab, name: str = "vipctl0") -> bool:
    return ",UP" in net.director.run(["ip", "link", "show", name], check=False).stdout


def is_there(net: Lab, name: str = "vipctl0") -> bool:
    return bool(net.director.run(["ip", "link", "show", name], check=False).stdout)


def wait_up(net: Lab) -> None:
    wait_until(lambda: is_up(net), "the device is up")


def wait_down(net: Lab) -> None:
    wait_until(lambda: not is_up(net), "the device is down")


def changes(daemon: Daemon) -> list[str]:
    """What it says of the device."""
    return [line.removeprefix("vipctl: ") for line in daemon.said() if "vipctl: vipctl0" in line]


def alive(vipctl: Vipctl) -> dict[str, object]:
    found: dict[str, object] = vipctl("status")["watch"]["alive"]
    return found


@pytest.fixture
def director(vipctl: Vipctl) -> Vipctl:
    vipctl("add-range", RANGE, "--fwmark", MARK)
    return vipctl


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_goes_with_the_process(
    net: Lab, director: Vipctl, tmp_path: Path, number: signal.Signals
) -> None:
    with watching(director, tmp_path / "log", command=ALIVE) as daemon:
        wait_up(net)
        assert changes(daemon) == ["vipctl0 is up: this director is fit"]
        assert "vipctl0: up since" in director.text("status").stdout
        net.director.ip("route add 198.51.100.0/24 dev vipctl0")
        daemon.stop(number)
        assert not is_there(net)
        assert net.director.run(["ip", "route", "show", "198.51.100.0/24"]).stdout == ""
    assert director("restore")["changed"] is False, "packets are accepted all the same"


def test_a_daemon_that_is_stopped_keeps_it(net: Lab, director: Vipctl, tmp_path: Path) -> None:
    """Until systemd's watchdog kills it; VIPs are accepted meanwhile."""
    with watching(director, tmp_path / "log", command=ALIVE) as daemon:
        wait_up(net)
        daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(3)
        assert is_up(net)
        daemon.process.send_signal(signal.SIGCONT)
        net.director.run(["nft", "flush", "ruleset"])
        daemon.wait_for("put back: method fwmark")
        assert changes(daemon) == ["vipctl0 is up: this director is fit"]
        daemon.process.send_signal(signal.SIGSTOP)
        daemon.stop(signal.SIGKILL)
        assert not is_there(net)


def test_unfit_and_fit_again(net: Lab, director: Vipctl, tmp_path: Path) -> None:
    """Each time it is said once, with the reason."""
    net.director.ip("link add up0 type veth peer name up1", "link set up0 up", "link set up1 up")
    needs = (*ALIVE, "--needs-interface", "up0")
    with watching(director, tmp_path / "log", command=needs) as daemon:
        wait_up(net)
        net.director.ip("link set up1 down")  # up0 has no carrier then
        wait_down(net)
        assert alive(director)["why"] == ["interface up0 is down"]
        assert "vipctl0: down since" in director.text("status").stdout
        assert director("restore")["changed"] is False, "packets are accepted all the same"
        net.director.ip("link set up1 up")
        wait_up(net)
        assert (alive(director)["fit"], alive(director)["why"]) == (True, [])
        director("deactivate")
        wait_down(net)
        assert changes(daemon) == [
            "vipctl0 is up: this director is fit",
            "vipctl0 is down: interface up0 is down",
            "vipctl0 is up: this director is fit",
            "vipctl0 is down: this director is passive (vipctl activate)",
        ]


def test_drift_that_is_healed_is_borne_and_drift_that_stays_is_not(
    net: Lab, director: Vipctl, tmp_path: Path
) -> None:
    with watching(director, tmp_path / "log", command=ALIVE) as daemon:
        wait_up(net)
        for _ in range(5):
            net.director.run(["nft", "flush", "ruleset"])
            wait_until(lambda: "vipctl" in tables(net), "it is put back")
        daemon.wait_for("put back less often")
        assert is_up(net)
        wait_until(lambda: fight(net), "the device is down, as somebody goes on", 120)
        daemon.wait_for("vipctl0 is down: what others change stays so: method fwmark")


def tables(net: Lab) -> str:
    return net.director.run(["nft", "list", "tables"]).stdout


def fight(net: Lab) -> bool:
    net.director.run(["nft", "flush", "ruleset"])
    time.sleep(0.2)
    return not is_up(net)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("link set vipctl0 down", "vipctl0 is down: somebody has set vipctl0 down"),
        ("link del vipctl0", "vipctl0 is down: somebody has deleted vipctl0"),
    ],
)
def test_what_others_do_to_it_is_undone(
    net: Lab, director: Vipctl, tmp_path: Path, words: str, said: str
) -> None:
    with watching(director, tmp_path / "log", command=ALIVE) as daemon:
        wait_up(net)
        net.director.ip(words)
        daemon.wait_for(said)
        wait_up(net)
        assert len(changes(daemon)) == 3


def test_devices_of_others_are_left_alone(net: Lab, director: Vipctl, tmp_path: Path) -> None:
    net.director.ip("link add vipctl0 type veth peer name other")
    for words, code, text in (
        (ALIVE, 3, "there is a device vipctl0 already"),
        (("--alive", "a/b"), 2, "not an interface"),
        (("--needs-interface", "lo"), 2, "no device that needs it"),
        (("--check", *ALIVE), 2, "--check changes nothing"),
    ):
        done, printed = processes.run(director, "watch", *words)
        assert (done, text in printed["error"]["message"]) == (code, True), printed
    assert "veth" in net.director.run(["ip", "-d", "link", "show", "vipctl0"]).stdout
