"""The process: it makes the relay, lets it run until it is asked to end, and says how it stands."""

import asyncio
import gc
import json
import os
import signal
import socket
from contextlib import closing, suppress

from vipctl.errors import VipctlError
from vipctl.files import Where
from vipctl.relay import file
from vipctl.relay.exchange import Exchange
from vipctl.relay.filter import Filter
from vipctl.relay.settings import Settings
from vipctl.relay.source import Source
from vipctl.relay.transport import Transport
from vipctl.state import runtime
from vipctl.watch import systemd
from vipctl.watch.journal import Level, Trouble, say

EVERY = 1.0  # seconds between two looks at what nobody tells of


def run(state_dir: Where, settings: Settings) -> None:
    """Until SIGTERM or SIGINT. Raises VipctlError."""
    gc.enable()  # asyncio makes circles of objects
    chosen = Filter(state_dir, settings.services)
    with runtime.serving(runtime.SYNC) as link, closing(Source(settings.device)) as source:
        exchange = Exchange(source, chosen)
        exchange.transports.append(_transport(settings, exchange))
        if settings.record:
            exchange.transports.append(file.Recording(settings.record))
        for message in file.recorded(settings.replay) if settings.replay else ():
            exchange.take(settings.replay, message)
        told = {"state_dir": os.path.realpath(state_dir), "pid": os.getpid()}
        asyncio.run(Daemon(source, exchange, link, told | {"device": settings.device}).run())


def _transport(settings: Settings, exchange: Exchange) -> Transport:
    """The one between directors, with what it needs and no more."""
    if settings.insecure_udp:
        from vipctl.relay.udp import Udp

        return Udp(settings.listen, settings.peers, exchange)
    from vipctl.relay.tls import Papers, Tls

    papers = Papers(settings.tls_ca, settings.tls_cert, settings.tls_key)
    return Tls(settings.listen, settings.peers, papers, exchange)


class Daemon:
    """What fails ends it: the next start goes on."""

    def __init__(
        self, source: Source, exchange: Exchange, link: runtime.Link, told: runtime.Answer
    ) -> None:
        self._source, self._exchange, self._link, self._told = source, exchange, link, told
        self._ended = asyncio.Event()
        self._failure: VipctlError | None = None
        self._trouble = Trouble()  # why services are those of before

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ended.set)
        loop.add_reader(self._link, self._answer)
        async with asyncio.TaskGroup() as tasks:
            beside = [self._look(), systemd.stay_alive()]
            beside += [transport.run() for transport in self._exchange.transports]
            running = [tasks.create_task(one) for one in beside]
            say(Level.NOTICE, f"relaying for {self._source.name}")
            systemd.notify("READY=1")
            await self._ended.wait()
            systemd.notify("STOPPING=1")
            for task in running:
                task.cancel()
        if self._failure:
            raise self._failure

    def _hear(self) -> None:
        try:
            self._exchange.own()
        except OSError:
            self._tend()

    def _tend(self) -> None:
        """Its device may be another one afterwards."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._source.fileno())
        try:
            self._exchange.tend()
        except VipctlError as e:
            self._failure = e
            self._ended.set()
        else:
            loop.add_reader(self._source.fileno(), self._hear)

    def _answer(self) -> None:
        """A command that asks how it stands."""
        with suppress(OSError):  # it has not waited
            word, sender = self._link.recvfrom(100, socket.MSG_DONTWAIT)
            if word == runtime.STATUS and sender:
                answer = json.dumps(self._told | self._exchange.report())
                self._link.sendto(answer.encode(), socket.MSG_DONTWAIT, sender)

    async def _look(self) -> None:
        while True:
            self._tend()
            try:
                self._exchange.look()
                problem = ""
            except VipctlError as e:
                problem = f"records go by the services of before: {e.in_a_line}"
            self._trouble.now(problem)
            systemd.notify(f"STATUS={self._exchange}")
            await asyncio.sleep(EVERY)
