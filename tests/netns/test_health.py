"""`vipctl watch` asks real servers, and says what follows. This kernel has no IPVS to follow it."""

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_address
from itertools import cycle
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab, lab
from tests.harness.netns import Namespace
from tests.harness.servers import ScriptedServer, TcpServer
from tests.harness.waiting import LIMIT, wait_until
from tests.netns.probed import OK, read_request, saying, silent
from tests.netns.test_watch import Daemon, watching
from tests.unit.committing import commit
from vipctl.addresses.prefixes import from_spans
from vipctl.health.verdicts import State
from vipctl.operate.weighing import Weighing
from vipctl.services import planner
from vipctl.services.checks import parse_checks
from vipctl.services.real import parse_reals
from vipctl.services.service import Service
from vipctl.state import verdicts as file
from vipctl.state.store import Store
from vipctl.watch import checker
from vipctl.watch.checker import Checker

COLLECTED = """import gc
gc.callbacks.append(lambda *_: open('{file}', 'a').write("."))
"""
OFTEN = "every=0.2s,fall=2"
TCP = f"tcp:80,{OFTEN}"
ONE, TWO = "10.0.1.11", "10.0.1.12"
WEB = Service("web", 0x1000, reals=parse_reals([ONE, TWO]), checks=parse_checks([TCP]))
SHOP = WEB._replace(name="shop", fwmark=0x1001)


@pytest.fixture
def balanced() -> Iterator[Lab]:
    with lab() as built:
        yield built


@pytest.fixture
def director(balanced: Lab, tmp_path: Path) -> Iterator[Vipctl]:
    """With two services stored; what the daemon has said goes with it."""
    vipctl = Vipctl(balanced.director, tmp_path / "state")
    keep(vipctl, WEB, SHOP)
    yield vipctl
    Path(file.path(vipctl.state_dir)).unlink(missing_ok=True)


def keep(vipctl: Vipctl, *services: Service) -> None:
    """Stores services as a command would on a kernel with IPVS."""
    with vipctl.host, Store.open(vipctl.state_dir) as store:
        for number, service in enumerate(services):
            old = store.services().get(service.name)
            vip = int(ip_address("203.0.113.0")) + number
            wanted = from_spans([] if old else [(4, (vip, vip))])
            commit(store, planner.take(store, old, service, wanted))


def states(vipctl: Vipctl, name: str = "web") -> dict[str, State]:
    with vipctl.host:
        found = file.read(vipctl.state_dir).services.get(name)
    return {endpoint: one.state for endpoint, one in found.reals.items()} if found else {}


def wait_for(vipctl: Vipctl, **wanted: State) -> None:
    """Until the servers `one` and `two` are so."""
    expected = {{"one": ONE, "two": TWO}[key]: state for key, state in wanted.items()}
    wait_until(lambda: expected.items() <= states(vipctl).items(), f"{expected}")


@contextmanager
def serving(net: Lab, number: int = 0) -> Iterator[TcpServer]:
    server = TcpServer(net.reals[number], "0.0.0.0", 80, f"real{number}")
    try:
        yield server
    finally:
        server.close()


def test_one_fails_and_comes_back(balanced: Lab, director: Vipctl, tmp_path: Path) -> None:
    with serving(balanced, 1), watching(director, tmp_path / "log") as daemon:
        with serving(balanced, 0):
            wait_for(director, one=State.UP, two=State.UP)
            assert not [line for line in daemon.said() if "real server" in line]
        daemon.wait_for(f"web: real server {ONE} is down, and gets no new clients: {TCP}: nothing")
        wait_for(director, one=State.DOWN, two=State.UP)
        assert ("fails", f"nothing listens on {ONE}:80") in found(director)
        with serving(balanced, 0):
            daemon.wait_for(f"web: real server {ONE} is up again")
            wait_for(director, one=State.UP, two=State.UP)
        wait_until(lambda: said_of(daemon, "web") == said_of(daemon, "shop"), "both are told of")


def found(vipctl: Vipctl) -> list[tuple[str, str]]:
    return [(row["state"], row["why"]) for row in vipctl("list-checks")["checks"]]


def said_of(daemon: Daemon, name: str) -> list[str]:
    begin = f"vipctl: {name}: "
    return [line.removeprefix(begin) for line in daemon.said() if line.startswith(begin)]


def test_all_fail(balanced: Lab, director: Vipctl, tmp_path: Path) -> None:
    with watching(director, tmp_path / "log") as daemon:
        daemon.wait_for(f"web: no real server of IPv4 works: clients still get {ONE} {TWO}")
        assert "keeps its clients, as no other works" in " ".join(said_of(daemon, "web"))
        with serving(balanced, 1):
            daemon.wait_for("web: no longer: no real server of IPv4 works")
            wait_for(director, one=State.DOWN, two=State.UP)


def test_a_director_without_any_real_server_is_unfit(
    balanced: Lab, director: Vipctl, tmp_path: Path
) -> None:
    """Without IPVS it is unfit in any case, and knows all the reasons."""
    none, needed = "no service has a real server left", "service web has no real server left"
    alive = ("--alive", "vipctl0", "--needs-service", "web")

    def against() -> set[str]:
        known = director("status")["watch"]["alive"]
        assert known["fit"] is False
        return {none, needed} & set(known["why"])

    with watching(director, tmp_path / "log", command=alive):
        wait_until(lambda: against() == {none, needed}, "all have failed")
        with serving(balanced, 1):
            wait_until(lambda: against() == set(), "one works")
        wait_until(lambda: against() == {none, needed}, "all have failed again")


def test_a_target_of_two_services_is_asked_once(
    balanced: Lab, director: Vipctl, tmp_path: Path
) -> None:
    server = ScriptedServer(balanced.reals[0], "0.0.0.0", 80, lambda _: None)
    with serving(balanced, 1), watching(director, tmp_path / "log"):
        wait_for(director, one=State.UP)
        begun, before = time.monotonic(), len(server.connections)
        wait_until(lambda: len(server.connections) >= before + 20, "it is asked")
        rounds = (time.monotonic() - begun) / 0.2
        assert len(server.connections) - before <= rounds * 1.5 + 2
    server.close()


def test_who_hangs_is_asked_as_often_as_others(
    balanced: Lab, director: Vipctl, tmp_path: Path
) -> None:
    """Also where its turn comes again, a little early, before the last question has timed out."""
    text = "http:/,port=81,every=0.4s,timeout=0.4s,fall=2"
    keep(director, WEB._replace(checks=parse_checks([text])))
    hangs, works = (
        ScriptedServer(real, "0.0.0.0", 81, script)
        for real, script in zip(balanced.reals, (silent, saying(OK)), strict=True)
    )
    with watching(director, tmp_path / "log"):
        wait_until(lambda: len(works.connections) >= 30, "the other is asked")
        assert len(hangs.connections) >= 0.8 * len(works.connections)


def test_who_cannot_be_asked_yet_waits_for_another(
    balanced: Lab, director: Vipctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only one may be asked at a time, and each takes all of its time."""
    monkeypatch.setattr(checker, "MOST", 1)
    texts = ["http:/,port=81,every=0.2s,timeout=0.2s,fall=2", TCP, f"tcp:82,{OFTEN}"]
    keep(director, WEB._replace(checks=parse_checks(texts)))
    servers = [ScriptedServer(real, "0.0.0.0", 81, silent) for real in balanced.reals]

    async def most_asked() -> int:
        asking = Checker(Weighing(director.state_dir))
        await asking.learn()
        working, most = asyncio.create_task(asking.run()), 0
        async with asyncio.timeout(4 * LIMIT):
            while set(states(director).values()) != {State.DOWN}:
                most = max(most, len(asking._asking))
                await asyncio.sleep(0.01)
        working.cancel()
        return most

    with balanced.director:
        assert asyncio.run(most_asked()) == 1
    for server in servers:
        server.close()


def test_who_flaps_changes_seldom(balanced: Lab, director: Vipctl, tmp_path: Path) -> None:
    """One fails every other time, which is no failure; one as often as it can."""
    fall, rise = 2, 2
    text = f"http:/,port=81,every=0.2s,fall={fall},rise={rise}"
    keep(director, WEB._replace(checks=parse_checks([text])))
    patterns = "+-", "+" * rise + "-" * fall
    flaps = [flapping(*one) for one in zip(balanced.reals, patterns, strict=True)]
    with watching(director, tmp_path / "log") as daemon:
        downs = partial(times_down, daemon, TWO)
        wait_until(lambda: downs() >= 6, "it has been down some times")
        asked = len(flaps[1].connections)
        assert downs() <= asked / (fall + rise) + 1
        assert times_down(daemon, ONE) == 0
    for server in flaps:
        server.close()


def times_down(daemon: Daemon, endpoint: str) -> int:
    begin = f"real server {endpoint} is down"
    return len([line for line in said_of(daemon, "web") if line.startswith(begin)])


def flapping(host: Namespace, answers: str) -> ScriptedServer:
    """Passes, or does not, as these answers say again and again."""
    turns = cycle(answers)

    def script(connection: socket.socket) -> None:
        saying(OK if next(turns) == "+" else b"HTTP/1.1 500 Oh\r\n\r\n")(connection)

    return ScriptedServer(host, "0.0.0.0", 81, script)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_next_daemon_goes_on_where_one_ended(
    balanced: Lab, director: Vipctl, tmp_path: Path, number: signal.Signals
) -> None:
    """A failed one stays down until it has passed: nobody is told that it is down again."""
    with serving(balanced, 1):
        with watching(director, tmp_path / "log") as daemon:
            wait_for(director, one=State.DOWN, two=State.UP)
            daemon.stop(number)
        before = Path(file.path(director.state_dir)).read_text()
        with watching(director, tmp_path / "log") as daemon:
            time.sleep(1)
            assert Path(file.path(director.state_dir)).read_text() == before
            assert said_of(daemon, "web") == []
            with serving(balanced, 0):
                daemon.wait_for(f"web: real server {ONE} is up again")


def test_who_comes_later_must_pass(balanced: Lab, director: Vipctl, tmp_path: Path) -> None:
    keep(director, WEB._replace(reals=WEB.reals[1:]))
    with serving(balanced, 1), watching(director, tmp_path / "log") as daemon:
        wait_for(director, two=State.UP)
        keep(director, WEB)
        daemon.wait_for(f"web: real server {ONE} is new, and does not pass: {TCP}: nothing listens")
        assert states(director)[ONE] is State.NEW
        with serving(balanced, 0):
            daemon.wait_for(f"web: real server {ONE} passes, and gets clients")


def test_without_checks_nothing_is_said(balanced: Lab, director: Vipctl, tmp_path: Path) -> None:
    with serving(balanced, 1), watching(director, tmp_path / "log"):
        wait_for(director, one=State.DOWN)
        keep(director, WEB._replace(checks=()), SHOP._replace(checks=()))
        where = Path(file.path(director.state_dir))
        wait_until(lambda: not where.exists(), "the file has gone")
    assert director("list-checks")["checks"] == []


def test_what_failed_checks_leave_in_memory_is_collected(
    balanced: Lab, director: Vipctl, tmp_path: Path
) -> None:
    """Commands end before that is worth it, and so have it switched off."""
    del balanced
    keep(director, WEB._replace(checks=parse_checks([f"tcp:81,{OFTEN}"])))
    (tmp_path / "sitecustomize.py").write_text(COLLECTED.format(file=tmp_path / "collected"))
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with watching(director, tmp_path / "log", inside=("env", f"PYTHONPATH={path}")):
        (tmp_path / "collected").write_bytes(b"")
        wait_until(lambda: (tmp_path / "collected").stat().st_size > 0, "it collects")


def test_who_gets_no_processor_takes_nobody_for_dead(
    balanced: Lab, director: Vipctl, tmp_path: Path
) -> None:
    """The daemon gets 5 % of a processor, and is stopped in the middle of each question.

    Servers answer in a quarter of the timeout. When it goes on, that is over, and the answer there.
    """
    keep(director, WEB._replace(checks=parse_checks([f"http,port=81,{OFTEN}"])))
    servers = [ScriptedServer(real, "0.0.0.0", 81, thinking) for real in balanced.reals]
    with watching(director, tmp_path / "log") as daemon:
        wait_for(director, one=State.UP, two=State.UP)
        with starved(daemon.process.pid):
            time.sleep(8)
        assert [line for line in said_of(daemon, "web") if "is down" in line] == []
        assert set(states(director).values()) == {State.UP}
        for server in servers:
            server.close()
        daemon.wait_for(f"web: real server {ONE} is down")


def thinking(connection: socket.socket) -> None:
    read_request(connection)
    time.sleep(0.05)
    connection.sendall(OK)


@contextmanager
def starved(pid: int) -> Iterator[None]:
    ended = threading.Event()

    def strangle() -> None:
        while not ended.wait(0.02):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.38)
            os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=strangle)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
