"""Agents as HAProxy's users write them: what they say is heard, and takes effect.

This kernel has no IPVS; what IPVS would get is `effective` of what the daemon wrote.
"""

import asyncio
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab, lab
from tests.harness.running import running
from tests.harness.servers import ScriptedServer
from tests.harness.waiting import wait_until
from tests.netns.probed import Asked, asked_lab, descriptors, resetting, silent
from tests.netns.test_health import ONE, SHOP, TWO, keep, said_of
from tests.netns.test_watch import watching
from vipctl.health.verdicts import effective
from vipctl.probing import consult
from vipctl.probing.agents import LONGEST
from vipctl.services.agents import Admin, Agent, Heard, Running, Words, parse_words
from vipctl.services.values import Feedback
from vipctl.state import verdicts as file

PORT = 8675
AGENT = Agent(PORT, 0.2)
WEB = SHOP._replace(name="web", fwmark=0x1000, checks=(), agent=AGENT)
ALSO = WEB._replace(name="shop", fwmark=0x1001)
LINES = (
    *("75%", "0%", "up", "down", "drain", "maint", "ready", "stopped #by hand", "fail"),
    *("75%,maxconn:30,maint,down", "drain ready", "DOWN Up 30%\tready", "nonsense", "down up", ""),
    "200%",
)
STATES = {"0": Running.DOWN, "2": Running.UP}  # SRV_ST_STOPPED, SRV_ST_RUNNING
FORCED = {"0": Admin.READY, "1": Admin.MAINT, "8": Admin.DRAIN}  # SRV_ADMF_FMAINT, _FDRAIN


class OneLine:
    """An agent: whoever connects is told the line of the moment."""

    def __init__(self, net: Lab, number: int, line: str) -> None:
        self.line = line
        self.server = ScriptedServer(net.reals[number], "0.0.0.0", PORT, self.tell)

    def tell(self, connection: socket.socket) -> None:
        connection.sendall(f"{self.line}\n".encode())


# one agent, asked once


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    with asked_lab() as built:
        yield built


def hear(asked: Asked, agent: Agent, port: int = PORT) -> Heard:
    with asked.net.director:
        return asyncio.run(consult(asked.target(port), agent))


@pytest.mark.parametrize("end", ["\n", "\r\n", "", "\nup\n", "\r" + "x" * 9999])
def test_a_line_is_heard_with_its_end_or_that_of_the_connection(asked: Asked, end: str) -> None:
    def tell(connection: socket.socket) -> None:
        connection.sendall(b"75% dra")
        time.sleep(0.05)
        connection.sendall(f"in{end}".encode())

    with asked.serving(tell, PORT):
        assert hear(asked, Agent(PORT)) == Heard(Words(75, Admin.DRAIN))


def test_an_agent_that_keeps_the_connection_is_heard_all_the_same(asked: Asked) -> None:
    def tell(connection: socket.socket) -> None:
        connection.sendall(b"up\n")
        connection.recv(1)

    with asked.serving(tell, PORT):
        assert hear(asked, Agent(PORT, 30.0)) == Heard(Words(running=Running.UP))


def test_what_is_to_be_sent_is_sent_first(asked: Asked) -> None:
    def echo(connection: socket.socket) -> None:
        connection.sendall(connection.recv(99))

    with asked.serving(echo, PORT):
        assert hear(asked, Agent(PORT, send="30%,drain\n")) == Heard(Words(30, Admin.DRAIN))


def endless(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"up " * 1000)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (silent, "connected, but no answer within 0.3s"),
        (endless, f"says more than {LONGEST >> 10} KiB in a line"),
        (lambda _: None, "says nothing"),
        (resetting, "reset the connection"),
    ],
)
def test_whatever_it_does_an_answer_is_there_in_time(
    asked: Asked, script: object, why: str
) -> None:
    def started(connection: socket.socket) -> None:
        connection.recv(99)
        script(connection)  # type: ignore[operator]

    hear(asked, AGENT)  # imports
    before = descriptors()
    with asked.serving(started, PORT):
        heard = hear(asked, Agent(PORT, 0.3, "GET / HTTP/1.0\r\n\r\n"))
    assert heard.words is None
    assert why in heard.why
    wait_until(lambda: descriptors() <= before, "nothing is left open")


def test_where_nobody_listens_nothing_is_heard(asked: Asked) -> None:
    assert hear(asked, Agent(PORT)) == Heard(
        None, f"nothing listens on {asked.net.real4(0)}:{PORT}"
    )


# the daemon


@pytest.fixture
def director(tmp_path: Path) -> Iterator[tuple[Lab, Vipctl]]:
    with lab() as net:
        vipctl = Vipctl(net.director, tmp_path / "state")
        keep(vipctl, WEB, ALSO)
        yield net, vipctl
        Path(file.path(vipctl.state_dir)).unlink(missing_ok=True)


def weights(vipctl: Vipctl) -> list[int]:
    with vipctl.host:
        said = file.read(vipctl.state_dir)
    return [real.weight for one in (WEB, ALSO) for real in effective(one, said).reals]


def wait_for(vipctl: Vipctl, one: int, two: int = 100) -> None:
    """Until IPVS is to have these weights, of both services."""
    wait_until(lambda: weights(vipctl) == [one, two] * 2, f"{one, two}")


def test_an_agent_weighs_drains_and_revives_its_server(
    director: tuple[Lab, Vipctl], tmp_path: Path
) -> None:
    net, vipctl = director
    one, two = OneLine(net, 0, "50%"), OneLine(net, 1, "up ready")
    with watching(vipctl, tmp_path / "log") as daemon:
        wait_for(vipctl, 50)
        one.line = "drain #backup"
        wait_for(vipctl, 0)
        one.line = "up 100%"
        time.sleep(0.6)
        wait_for(vipctl, 0)
        row = vipctl("list-checks", "--service=web")["checks"][0]
        assert (row["check"], row["state"], row["why"]) == (
            f"agent {PORT}", "drain", "says drain: backup"
        )  # fmt: skip
        one.line = "ready"
        wait_for(vipctl, 100)
        two.line = "down#disk full"
        wait_for(vipctl, 100, 0)
        two.server.close()  # nobody is there to say that it is up again
        daemon.wait_for(f"{TWO}: check agent {PORT} tells nothing: nothing listens on {TWO}")
        daemon.stop(signal.SIGKILL)
        said = said_of(daemon, "web")
    assert said == [
        f"real server {ONE} gets no new clients, as its agent says drain: backup",
        f"real server {ONE} gets clients again, as its agent says",
        f"real server {TWO} is down, and gets no new clients: agent {PORT}: says down: disk full",
        f"real server {TWO}: check agent {PORT} tells nothing: nothing listens on {TWO}:{PORT}",
    ]
    with watching(vipctl, tmp_path / "log"):
        time.sleep(0.6)
        wait_for(vipctl, 100, 0)
        two = OneLine(net, 1, "up")
        wait_for(vipctl, 100)


def test_an_agent_of_two_services_is_asked_once(
    director: tuple[Lab, Vipctl], tmp_path: Path
) -> None:
    net, vipctl = director
    one, _ = OneLine(net, 0, "50%"), OneLine(net, 1, "100%")
    with watching(vipctl, tmp_path / "log"):
        wait_for(vipctl, 50)
        begun, before = time.monotonic(), len(one.server.connections)
        wait_until(lambda: len(one.server.connections) >= before + 20, "it is asked")
        rounds = (time.monotonic() - begun) / AGENT.every
        assert len(one.server.connections) - before <= rounds * 1.5 + 2


def test_with_feedback_weights_follow_step_by_step(
    director: tuple[Lab, Vipctl], tmp_path: Path
) -> None:
    net, vipctl = director
    keep(vipctl, *(one._replace(feedback=Feedback.LOAD) for one in (WEB, ALSO)))
    one, _ = OneLine(net, 0, "5%"), OneLine(net, 1, "90%")
    with watching(vipctl, tmp_path / "log") as daemon:
        wait_for(vipctl, 64, 110)  # (mean / load) ** 0.7; and the most that it may rise
        wait_until(lambda: weights(vipctl)[0] < 40 < 100 < weights(vipctl)[1], "it goes on")
        one.line = "90% drain"
        wait_until(lambda: weights(vipctl)[0] == 0, "it is drained")
        keep(vipctl, WEB, ALSO)
        one.line = "90% ready"
        wait_for(vipctl, 90, 90)
        assert [line for line in said_of(daemon, "web") if "agent" not in line] == []


# beside HAProxy


@contextmanager
def haproxy(net: Lab, tmp_path: Path) -> Iterator[Path]:
    """One server for each line, whose agent says that; its address for questions."""
    console = tmp_path / "haproxy.sock"
    servers = "".join(
        f"    server s{n} {net.real4(0)}:80 weight 100 agent-check agent-port {9000 + n} "
        "agent-inter 200ms\n"
        for n in range(len(LINES))
    )
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        f"global\n    stats socket {console} level admin\ndefaults\n    mode tcp\n"
        "    timeout connect 3s\n    timeout client 3s\n    timeout server 3s\n"
        f"backend web\n{servers}"
    )
    argv = ["ip", "netns", "exec", net.director.name, "haproxy", "-db", "-f", str(config)]
    with running(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        wait_until(console.exists, "it listens")
        yield console


def shown(console: Path) -> dict[str, tuple[Running, Admin, int]]:
    """Of each server, by its name: as HAProxy has it."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(console))
        sock.sendall(b"show servers state web\n")
        said = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
    rows = (line.split() for line in said.splitlines() if re.match(r"\d+ web ", line))
    return {row[3]: (STATES[row[5]], FORCED[row[6]], int(row[7])) for row in rows}


def read(line: str) -> tuple[Running, Admin, int]:
    """The same, as vipctl reads the line."""
    words = parse_words(f"{line}\n".encode())
    running = Running.UP if words.running in (None, Running.UP) else Running.DOWN
    return running, words.admin or Admin.READY, 100 if words.percent is None else words.percent


def test_haproxy_understands_the_same(asked: Asked, tmp_path: Path) -> None:
    def telling(line: str) -> object:
        return lambda connection: connection.sendall(f"{line}\n".encode())

    with ExitStack() as stack:
        agents = [
            stack.enter_context(asked.serving(telling(line), 9000 + n))  # type: ignore[arg-type]
            for n, line in enumerate(LINES)
        ]
        console = stack.enter_context(haproxy(asked.net, tmp_path))
        wait_until(lambda: all(len(a.connections) > 2 for a in agents), "all are asked")
        found = shown(console)
    for n, line in enumerate(LINES):
        running, admin, weight = found[f"s{n}"]
        if admin is Admin.MAINT:  # which stops a server, for HAProxy
            running = read(line)[0]
        assert (running, admin, weight) == read(line), line
