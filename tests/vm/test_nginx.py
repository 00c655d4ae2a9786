"""nginx behind IPVS and the daemon: one after the other breaks, and nobody else's clients notice.

Clients ask thousands of times, each time from another port: IPVS would take a port that comes again
for a connection that it knows.
"""

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab, lab
from tests.harness.netns import Namespace, execute
from tests.harness.nginx import HEALTH, Nginx
from tests.harness.traffic import content_length, read_head
from tests.harness.waiting import wait_until
from tests.vm.test_health import PATIENCE, wait_for, watching

VIP = "203.0.113.7"
NUMBER = 3
CHECK = f"http:{HEALTH},port=80,every=1s,timeout=1s,fall=2,rise=2"
REALS = [f"10.0.1.{11 + index}" for index in range(NUMBER)]
PORTS = range(10_000, 60_000)
REQUEST = f"GET / HTTP/1.1\r\nHost: {VIP}\r\n\r\n".encode()
TOGETHER = 4  # clients
ENOUGH = 2000  # requests
SOME = 60
PATIENT = 3.0  # seconds that a client waits


class Asked(NamedTuple):
    """When it began (monotonic), and who answered; nobody, if it failed."""

    begun: float
    server: str


class Clients:
    """Each asks one request after the other, until all are ended; one may wait for who hangs."""

    def __init__(self, host: Namespace) -> None:
        self.asked: list[Asked] = []
        self._host, self._ended = host, threading.Event()
        starts = range(0, len(PORTS), len(PORTS) // TOGETHER)
        parts = [PORTS[start : start + len(PORTS) // TOGETHER] for start in starts]
        self._threads = [threading.Thread(target=self._ask, args=[part]) for part in parts]
        for thread in self._threads:
            thread.start()

    def _ask(self, ports: range) -> None:
        with self._host:
            for port in ports:
                if self._ended.is_set():
                    return
                begun = time.monotonic()
                self.asked.append(Asked(begun, ask(port)))

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def wait(self, number: int) -> None:
        """Until they have asked so many."""
        wait_until(lambda: len(self.asked) >= number, f"{number} requests", 5 * PATIENCE)

    def go_on(self) -> None:
        """Until they have asked some more."""
        self.wait(len(self.asked) + SOME)

    def between(self, begin: float, end: float) -> Counter[str]:
        return Counter(one.server for one in self.asked if begin <= one.begun < end)


def ask(port: int) -> str:
    """Who answers a client of that port; empty if nobody does, or an error is answered."""
    with socket.socket() as sock, suppress(OSError):
        sock.settimeout(PATIENT)
        sock.bind(("", port))
        sock.connect((VIP, 80))
        sock.sendall(REQUEST)
        stream = sock.makefile("rb")
        head = read_head(stream.readline)
        body = stream.read(content_length(head)).decode()
        return body if head and b" 200 " in head[0] else ""
    return ""


@pytest.fixture
def built(tmp_path: Path) -> Iterator[tuple[Lab, list[Nginx]]]:
    execute(["modprobe", "ip_vs"])
    with lab(reals=NUMBER) as net, ExitStack() as stack:
        servers = [Nginx(real, tmp_path, f"nginx{n}") for n, real in enumerate(net.reals)]
        for server in servers:
            stack.callback(server.end)
            server.start()
        yield net, servers


def test_clients_of_the_others_notice_nothing(
    built: tuple[Lab, list[Nginx]], tmp_path: Path
) -> None:
    net, servers = built
    vipctl = Vipctl(net.director, tmp_path / "state")
    options = ("--scheduler=rr", f"--check={CHECK}", *(f"--real={rip}" for rip in REALS))
    vipctl("add-range", VIP, "--service=web", *options)
    with watching(vipctl, tmp_path / "log"):
        wait_until(lambda: passing(vipctl) == NUMBER, "all pass", PATIENCE)
        clients = Clients(net.client)
        try:
            clients.go_on()
            for number in range(NUMBER):
                break_and_mend(net, servers, number, clients)
            clients.wait(ENOUGH)
        finally:
            clients.end()


def break_and_mend(net: Lab, servers: list[Nginx], number: int, clients: Clients) -> None:
    """In a way of its own. Only what IPVS gave to it before it was found out has failed."""
    server, rip, all_up = servers[number], REALS[number], dict.fromkeys(REALS, 1)
    begun = time.monotonic()
    (server.fail, server.hang, server.end)[number]()
    wait_for(net, all_up | {rip: 0})
    found = time.monotonic()
    clients.go_on()
    (server.work, server.go_on, server.start)[number]()
    wait_for(net, all_up)
    mended = time.monotonic()
    clients.go_on()
    meanwhile = clients.between(begun, found)
    assert 0 < meanwhile[""] <= meanwhile.total() / NUMBER + TOGETHER, meanwhile
    names = {one.name for one in servers}
    assert set(clients.between(found, mended)) | {server.name} == names
    assert set(clients.between(mended, time.monotonic())) == names


def passing(vipctl: Vipctl) -> int:
    return sum(found["state"] == "passes" for found in vipctl("list-checks")["checks"])
