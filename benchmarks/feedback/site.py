"""Real servers whose work takes a defined time, their agents, and clients that come when they come.

All of it is one event loop: the guest has one processor. A server has workers, and a queue in front
of them; a request keeps a worker for a random time with a known mean. Nothing of this costs
processor time, so that what is measured is where requests wait, and not how slow the guest is.
"""

import asyncio
import random
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

from tests.harness.lab import Lab

SPEEDS = (1, 1, 1, 1, 1, 1, 2, 4)
WORKERS = 2
WORK = 0.4  # seconds of a request at speed 1, in the mean
CAPACITY = sum(SPEEDS) * WORKERS / WORK  # requests a second
SLOWER = 4  # what the largest server is for a while
PORT, AGENT = 8080, 8675
VIP = "203.0.113.7"
ANSWER, FAILURE = b"+" * 3999 + b"\n", b"-\n"  # as small as an error page is beside a page
PATIENCE = 30.0  # seconds of a client


class Server:
    """One real server. `slower` divides its speed; one that is `broken` fails at once."""

    def __init__(self, speed: int, rng: random.Random) -> None:
        self.speed, self.rng = speed, rng
        self.slower, self.broken = 1.0, False
        self.begin()

    def begin(self) -> None:
        self.slower, self.broken = 1.0, False
        self.workers = asyncio.Semaphore(WORKERS)
        self.requests, self.waited = 0, 0.0  # for a policy that learns
        self._busy, self._area, self._at = 0, 0.0, time.monotonic()
        self._since = self._at

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while await reader.readline():
                writer.write(await self._work())
        writer.close()

    async def _work(self) -> bytes:
        if self.broken:
            return FAILURE
        begun = time.monotonic()
        async with self.workers:
            self._account(1)
            await asyncio.sleep(self.rng.expovariate(1) * WORK * self.slower / self.speed)
            self._account(-1)
        self.requests += 1
        self.waited += time.monotonic() - begun
        return ANSWER

    def _account(self, more: int) -> None:
        now = time.monotonic()
        self._area += self._busy * (now - self._at)
        self._busy, self._at = self._busy + more, now

    async def say(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """As an agent: how much was idle since it was asked last."""
        self._account(0)
        busy = self._area / (max(0.1, self._at - self._since) * WORKERS)
        self._area, self._since = 0.0, self._at
        writer.write(f"{100 - round(100 * min(1, busy))}%\n".encode())
        writer.close()


async def start(net: Lab, rng: random.Random) -> list[Server]:
    """A server and its agent on each real host."""
    servers = [Server(speed, rng) for speed in SPEEDS]
    for host, server in zip(net.reals, servers, strict=True):
        for port, talk in ((PORT, server.serve), (AGENT, server.say)):
            with host:
                sock = socket.create_server(("0.0.0.0", port), backlog=1024)
            await asyncio.start_server(talk, sock=sock)
    return servers


class Clients:
    """They come at random, however long others wait; `found` is when each asked, and its time.

    The time is None where the answer was a failure, or none.
    """

    def __init__(self, net: Lab, rng: random.Random) -> None:
        self.net, self.rng = net, rng
        self.found: list[tuple[float, float | None]] = []

    async def come(self, seconds: float, load: float, requests: int, gap: float) -> None:
        """For so long; each connection has so many requests in the mean, `gap` seconds apart."""
        begun, self.found, tasks = time.monotonic(), [], set[asyncio.Task[None]]()
        for when in self._arrivals(seconds, load * CAPACITY / requests):
            await asyncio.sleep(max(0, begun + when - time.monotonic()))
            number = 1 + int(self.rng.expovariate(1 / (requests - 1))) if requests > 1 else 1
            task = asyncio.create_task(self._one(begun, begun + seconds, number, gap))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks)

    def _arrivals(self, seconds: float, rate: float) -> Iterator[float]:
        when = self.rng.expovariate(rate)
        while when < seconds:
            yield when
            when += self.rng.expovariate(rate)

    async def _one(self, begun: float, end: float, number: int, gap: float) -> None:
        with self.net.client:
            sock = socket.socket()
        sock.setblocking(False)
        asked = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.get_running_loop().sock_connect(sock, (VIP, PORT))
            reader, writer = await asyncio.open_connection(sock=sock)
        except OSError:
            self.found.append((asked - begun, None))
            sock.close()
            return
        for turn in range(number):
            if turn:
                await asyncio.sleep(self.rng.expovariate(1 / gap))
                asked = time.monotonic()
            if asked > end or not await self._ask(reader, writer, begun, asked):
                break
        writer.close()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, begun: float, asked: float
    ) -> bool:
        answer = b""
        with suppress(OSError):  # TimeoutError too
            async with asyncio.timeout(PATIENCE):
                writer.write(b"?\n")
                answer = await reader.readline()
        waited = time.monotonic() - asked if answer == ANSWER else None
        self.found.append((asked - begun, waited))
        return bool(answer)
