"""Ways from one director to another: what is sent there, what comes, and what that costs."""

import os
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from tests.harness import synced
from tests.harness.relays import DEVICE, Director

WINDOW = 64  # messages that are on the way at most: so many fit into a socket
QUIET = 2.0  # seconds without a message, after which no more will come
STEP = 0.001  # seconds between two looks at what is due
TICKS = os.sysconf("SC_CLK_TCK")


class Came(NamedTuple):
    """What was sent on a way, and of it came, in so many seconds.

    `link` is what went over the link, in both directions, with all headers; `used` are seconds of a
    processor, of all processes, and `relays` those of the two relays.
    """

    sent: int
    messages: int
    records: int
    bytes: int
    link: int
    seconds: float
    used: float
    relays: float


@dataclass
class Way:
    """A socket in the place of one director's master daemon, one of the other's backup daemon."""

    name: str
    mouth: socket.socket
    ear: socket.socket
    directors: Sequence[Director]
    relays: Sequence[int]  # processes

    def carried(self, messages: Sequence[bytes], seconds: float) -> Came:
        """As fast as it goes without a loss: a message more whenever another has come."""
        count = Count(self)
        end, turn = time.monotonic() + seconds, cycle(messages)
        while time.monotonic() < end:
            while count.sent < count.messages + WINDOW:
                count.send(next(turn))
            if not count.hear(QUIET):
                break
        while count.messages < count.sent and count.hear(QUIET):
            pass
        return count.came()

    def offered(self, messages: Sequence[bytes], rate: float, seconds: float) -> Came:
        """So many messages a second, whatever becomes of them."""
        count = Count(self)
        begun, turn = time.monotonic(), cycle(messages)
        while (passed := time.monotonic() - begun) < seconds:
            while count.sent < rate * passed:
                count.send(next(turn))
            while count.hear(0):
                pass
            select.select([self.ear], [], [], STEP)
        while count.hear(QUIET):
            pass
        return count.came()


class Count:
    """Sends and hears on a way, and counts."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self.sent = self.messages = self._records = self._bytes = 0
        self._link, self._relays = link(way.directors[0]), sum(map(used, way.relays))
        self._used = time.process_time() + self._relays
        self._begun = self._last = time.monotonic()

    def send(self, message: bytes) -> None:
        with suppress(BlockingIOError):  # there is no room: it is lost
            self._way.mouth.send(message)
        self.sent += 1

    def hear(self, patience: float) -> bool:
        """Whether one has come."""
        ear = self._way.ear
        try:
            found = ear.recv(2000)
        except BlockingIOError:
            if not (patience and select.select([ear], [], [], patience)[0]):
                return False
            found = ear.recv(2000)
        self._last = time.monotonic()
        self.messages += 1
        self._records += found[4]
        self._bytes += len(found)
        return True

    def came(self) -> Came:
        sent = self.sent, self.messages, self._records, self._bytes
        over, relays = link(self._way.directors[0]), sum(map(used, self._way.relays))
        costs = time.process_time() + relays - self._used, relays - self._relays
        return Came(*sent, over - self._link, self._last - self._begun, *costs)


@contextmanager
def way(name: str, directors: Sequence[Director], device: str = DEVICE) -> Iterator[Way]:
    """From the first director to the second."""
    one, two = directors
    with one.host:
        mouth = synced.speaking(device)
    with two.host:
        ear = synced.hearing(device)
    mouth.setblocking(False)
    ear.setblocking(False)
    with mouth, ear:
        if device == DEVICE:
            two.wait_for("the kernel takes records")
        pids = [one.process.pid for one in directors if one.process]
        yield Way(name, mouth, ear, directors, pids)


def used(pid: int) -> float:
    """Seconds of a processor that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def link(director: Director) -> int:
    """Bytes that have gone over its link."""
    lines = director.host.proc_net("dev").splitlines()
    words = next(line for line in lines if line.strip().startswith("eth0:")).split()
    return int(words[1]) + int(words[9])
