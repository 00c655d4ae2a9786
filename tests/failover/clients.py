"""Clients that go on while directors fail: datagrams without end, and connections kept open."""

import socket
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from tests.failover.site import PATIENCE
from tests.harness.lab import family
from tests.harness.netns import Namespace
from tests.harness.traffic import Connection

HELD = 200  # connections
INTERVAL = 0.05  # seconds between two datagrams to a VIP
SIZES = 1000  # of datagrams: how long it is tells which one it is
QUIET = 1.5  # seconds in which an answer comes, or never


class Stream(threading.Thread):
    """Datagrams to VIPs, until it is ended."""

    def __init__(self, client: Namespace, vips: Iterable[str]) -> None:
        super().__init__()
        self.sent, self._ended = 0, threading.Event()
        self.answered: dict[str, set[int]] = {vip: set() for vip in vips}
        with client:
            self._sockets = {vip: socket.socket(family(vip), socket.SOCK_DGRAM) for vip in vips}
        for vip, sock in self._sockets.items():
            sock.connect((vip, 53))
            sock.setblocking(False)

    def run(self) -> None:
        while not self._ended.wait(INTERVAL):
            self.sent += 1
            for vip, sock in self._sockets.items():
                with suppress(OSError):
                    sock.send(bytes(self.sent % SIZES + 1))
                self._hear(vip, sock)

    def _hear(self, vip: str, sock: socket.socket) -> None:
        with suppress(OSError):
            while True:
                size = int(sock.recv(2000).split()[2]) - 1
                self.answered[vip].add(self.sent - (self.sent - size) % SIZES)

    def end(self) -> None:
        self._ended.set()
        self.join()
        for sock in self._sockets.values():
            sock.close()

    def during(self, act: Callable[[], None]) -> dict[str, int]:
        """How many of each VIP were lost, of those sent from just before on until all is quiet."""
        time.sleep(QUIET)
        begin = self.sent
        act()
        time.sleep(QUIET)
        last = self.sent
        time.sleep(QUIET)
        return {
            vip: len(set(range(begin + 1, last + 1)) - found)
            for vip, found in self.answered.items()
        }


class Held:
    """TCP connections that clients keep open."""

    def __init__(self, client: Namespace, vips: Iterable[str]) -> None:
        names = list(vips)
        self._all = [Connection(client, names[n % len(names)], 80) for n in range(HELD)]

    def living(self) -> int:
        """How many are answered, each asked once more."""
        with ThreadPoolExecutor(HELD) as pool:
            return sum(pool.map(_is_answered, self._all))

    def close(self) -> None:
        for connection in self._all:
            connection.close()


def _is_answered(connection: Connection) -> bool:
    connection.socket.settimeout(PATIENCE)
    with suppress(OSError):
        return connection.ask().answered
    return False
