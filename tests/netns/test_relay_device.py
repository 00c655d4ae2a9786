"""The device of `vipctl sync`, which the kernel's sync daemons are bound to."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import synced
from tests.harness.relays import DEVICE, Director
from tests.harness.waiting import wait_until
from tests.netns import processes
from tests.netns.relayed import Site, contents, heard, records, site


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as built:
        yield built


def met(three: Site) -> tuple[Director, Director]:
    """Two directors that run, and have records of each other."""
    one, two, _ = three.directors
    one.start()
    two.start()
    one.wait_for(f"{two.address} gets records")
    one.wait_for(f"{two.address} sends records")
    return one, two


def met_once(director: Director, peer: Director) -> bool:
    found = [line for line in director.said() if line.endswith(f"{peer.address} gets records")]
    return len(found) == 1 and f"{peer.address} sends no records" not in director.said()


def test_the_device_outlives_the_relay(three: Site) -> None:
    """So the kernel's daemons go on with the next one."""
    one, two = met(three)
    with one.host, synced.speaking(DEVICE) as mouth, two.hearing() as ear:
        mouth.send(synced.message(records(1)))
        assert contents(heard(ear, 1)) == records(1)
        assert one.process
        one.process.kill()
        one.process.wait()
        one.start()
        one.wait_for(f"{two.address} gets records")
        mouth.send(synced.message(records(1, 1)))
        assert contents(heard(ear, 1)) == records(1, 1)


def test_devices_of_others_are_left_alone(three: Site) -> None:
    one, _, _ = three.directors
    one.host.ip(f"link add {DEVICE} type veth peer name other")
    words = ("sync", "--listen", one.address, "--peer", "10.0.9.2", *one.papers)
    code, printed = processes.run(one.vipctl, *words)
    assert (code, printed["error"]["message"]) == (3, f"there is a device {DEVICE} already")


@pytest.mark.parametrize("done", ["del", "set name other dev"])
def test_one_that_is_deleted_is_made_again(three: Site, done: str) -> None:
    """No peer notices; who begins to hear on the new one is told what the relay knows."""
    one, two = met(three)
    one.say(synced.message(records(3)))
    two.say(synced.message(records(3, 10)))
    wait_until(lambda: one.relay()["kept"] == 6, "it knows of six connections")
    one.host.ip(f"link {done} {DEVICE}")
    one.wait_for(f"somebody has deleted {DEVICE}: it is made again")
    assert DEVICE in one.host.run(["ip", "-br", "link"]).stdout
    assert "other" not in one.host.run(["ip", "-br", "link"]).stdout
    with one.hearing() as ear, two.hearing() as far:
        assert contents(heard(ear, 1)) == records(3, 10)
        assert contents(heard(far, 1)) == records(3)
        one.say(synced.message(records(1, 20)))
        assert contents(heard(far, 1)) == records(1, 20)
        two.say(synced.message(records(1, 21)))
        assert contents(heard(ear, 1)) == records(1, 21)
    assert met_once(one, two)
    assert one.stop() == 0


def test_who_heard_on_a_deleted_one_hears_no_more(three: Site) -> None:
    one, _ = met(three)
    with one.hearing():
        one.host.ip(f"link del {DEVICE}")
        one.wait_for(f"somebody has deleted {DEVICE}: it is made again")
        wait_until(lambda: not one.relay()["heard"], "status says so")


def test_one_that_is_set_down_is_up_again(three: Site) -> None:
    """Who hears there is told what it may have missed."""
    one, two = met(three)
    with one.hearing() as ear:
        two.say(synced.message(records(3)))
        assert contents(heard(ear, 1)) == records(3)
        one.host.ip(f"link set {DEVICE} down")
        one.wait_for(f"somebody has set {DEVICE} down: it is up again")
        assert contents(heard(ear, 1)) == records(3)
        two.say(synced.message(records(1, 20)))
        assert contents(heard(ear, 1)) == records(1, 20)
    assert met_once(one, two)


def test_one_that_cannot_be_made_again_ends_it(three: Site) -> None:
    """So that systemd starts it again, until that is possible."""
    one, _ = met(three)
    assert one.process
    one.process.send_signal(signal.SIGSTOP)
    one.host.ip(f"link del {DEVICE}", f"link add {DEVICE} type veth peer name other")
    one.process.send_signal(signal.SIGCONT)
    assert one.process.wait(30) == 3
    assert f"there is a device {DEVICE} already" in one.log.read_text()
