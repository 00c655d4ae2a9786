"""Clients that go on while directors fail: datagrams without end, and connections kept open."""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from tests.failover.site import PATIENCE
from tests.harness.lab import family
from tests.harness.netns import Namespace
from tests.harness.traffic import Connection
from tests.harness.waiting import wait_until

HELD = 200  # connections
FLOWS = HELD // 10  # of UDP
INTERVAL = 0.05  # seconds between two datagrams to a VIP, and of flows between one and the next
SIZES = 1000  # of datagrams: how long it is tells which one it is
QUIET = 1.5  # seconds in which an answer comes, or never


class _Sender(threading.Thread):
    """Sends datagrams to VIPs, until it is ended; each socket is a client's port."""

    def __init__(self, client: Namespace, vips: Iterable[str]) -> None:
        super().__init__()
        self._ended = threading.Event()
        self._sockets: list[socket.socket] = []
        for vip in vips:
            with client:
                self._sockets.append(socket.socket(family(vip), socket.SOCK_DGRAM))
            self._sockets[-1].connect((vip, 53))
            self._sockets[-1].setblocking(False)

    def end(self) -> None:
        self._ended.set()
        self.join()
        for sock in self._sockets:
            sock.close()


def _send(sock: socket.socket, size: int) -> None:
    with suppress(OSError):
        sock.send(bytes(size))


def _answers(sock: socket.socket) -> Iterator[list[str]]:
    """The words of each answer that has come."""
    with suppress(OSError):
        while True:
            yield sock.recv(2000).decode().split()


class Stream(_Sender):
    """Datagrams to VIPs: which of them are lost."""

    def __init__(self, client: Namespace, vips: Sequence[str], interval: float = INTERVAL) -> None:
        super().__init__(client, vips)
        self.sent, self._interval = 0, interval
        self._times = [time.monotonic()]  # of each that was sent; they are counted from 1
        self._answered: dict[str, set[int]] = {vip: set() for vip in vips}

    def run(self) -> None:
        while not self._ended.wait(self._interval):
            self._times.append(time.monotonic())
            self.sent += 1
            for found, sock in zip(self._answered.values(), self._sockets, strict=True):
                _send(sock, self.sent % SIZES + 1)
                sizes = [int(words[2]) - 1 for words in _answers(sock)]
                found.update(self.sent - (self.sent - size) % SIZES for size in sizes)

    def is_answered(self, after: int) -> bool:
        """Whether each VIP has answered one that was sent after that one."""
        later = range(after + 1, self.sent + 1)
        return all(any(number in found for number in later) for found in self._answered.values())

    def missed(self, act: Callable[[], None]) -> dict[str, list[int]]:
        """Those to each VIP that were lost, sent from just before on until all is quiet."""
        time.sleep(QUIET)
        begin = self.sent
        act()
        time.sleep(QUIET)
        last = self.sent
        time.sleep(QUIET)
        sent = range(begin + 1, last + 1)
        return {vip: [n for n in sent if n not in found] for vip, found in self._answered.items()}

    def during(self, act: Callable[[], None]) -> dict[str, int]:
        """How many of each VIP."""
        return {vip: len(lost) for vip, lost in self.missed(act).items()}

    def seconds(self, lost: Sequence[int]) -> float:
        """From the last that was answered before these to the first one after them."""
        return self._times[lost[-1] + 1] - self._times[lost[0] - 1]


class Flows(_Sender):
    """UDP flows: of each, the port of its client stays the same. Which real server answers it?"""

    def __init__(self, client: Namespace, vips: Sequence[str]) -> None:
        super().__init__(client, itertools.islice(itertools.cycle(vips), FLOWS))
        self._servers: list[list[str]] = [[] for _ in range(FLOWS)]  # by answer

    def run(self) -> None:
        flows = zip(self._sockets, self._servers, strict=True)
        for sock, servers in itertools.cycle(flows):
            if self._ended.wait(INTERVAL):
                return
            _send(sock, 1)
            servers += [words[0] for words in _answers(sock)]

    def servers(self) -> set[str]:
        """All that answer."""
        return {name for servers in self._servers for name in servers}

    def kept(self) -> int:
        """How many are answered anew, and were by one real server from the beginning."""
        known = [len(servers) for servers in self._servers]

        def anew() -> list[bool]:
            both = zip(known, self._servers, strict=True)
            return [len(servers) > number + 1 for number, servers in both]  # one may be older

        with suppress(TimeoutError):
            wait_until(lambda: all(anew()), "each is answered", PATIENCE)
        answered = zip(anew(), self._servers, strict=True)
        return sum(heard and len(set(servers)) == 1 for heard, servers in answered)


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
