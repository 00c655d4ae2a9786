"""Between directors by plain UDP, one message a datagram: for links that nobody else can send to.

Nothing is proved. Each director tells every second that it is there, with a number of its own life,
so that others know when it comes, and that it has gone.
"""

import asyncio
import os
import socket
import time
from collections.abc import Iterable, Mapping

from vipctl.relay.transport import Address, Holder, Peer, Sent, bound
from vipctl.watch.journal import Level, say

HELLO = b"vipctl sync 1 "  # and the number; a message begins with a zero
LIFE = 8  # bytes of the number
EVERY = 1.0  # seconds between two hellos
PATIENCE = 5.0  # seconds without any, after which a peer has gone
BURST, PAUSE = 32, 0.01  # messages sent at once, and seconds until the next
LARGEST = 65535  # bytes of a datagram
AT_ONCE = 64  # datagrams, after which others have their turn


class Seen:
    """What is known of one peer: its life, when it was heard last, and who sends to it."""

    def __init__(self, address: Address) -> None:
        self.peer = Peer(address)
        self.life = b""
        self.until = 0.0
        self.sending: asyncio.Task[None] | None = None


class Udp:
    """Raises KernelError if this director cannot listen there."""

    def __init__(self, listen: Address, peers: Iterable[Address], holder: Holder) -> None:
        self._holder = holder
        self._peers = {str(peer.host): Seen(peer) for peer in peers}
        self._life = os.urandom(LIFE)
        self._socket = bound(listen, socket.SOCK_DGRAM)

    def send(self, message: bytes) -> None:
        for seen in self._peers.values():
            seen.peer.put(message)

    def report(self) -> Mapping[str, Sent]:
        return {name: seen.peer.report() for name, seen in self._peers.items()}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            asyncio.get_running_loop().add_reader(self._socket, self._receive, tasks)
            while True:
                for name, seen in self._peers.items():
                    await self._put(seen.peer, HELLO + self._life)
                    if seen.sending and seen.until < time.monotonic():
                        self._gone(name, seen)
                await asyncio.sleep(EVERY)

    def _receive(self, tasks: asyncio.TaskGroup) -> None:
        for _ in range(AT_ONCE):
            try:
                datagram, (host, *_) = self._socket.recvfrom(LARGEST)
            except OSError:  # there is no more; or what was sent to a peer could not be delivered
                return
            if host not in self._peers:
                continue
            if datagram.startswith(HELLO):
                self._meet(host, datagram.removeprefix(HELLO), tasks)
            else:
                self._holder.take(host, datagram)

    def _meet(self, name: str, life: bytes, tasks: asyncio.TaskGroup) -> None:
        seen = self._peers[name]
        seen.until = time.monotonic() + PATIENCE
        if seen.sending and seen.life == life:
            return
        if seen.sending:
            self._gone(name, seen)
        seen.life = life
        self._holder.present(name, here=True)
        seen.sending = tasks.create_task(self._supply(seen.peer))

    def _gone(self, name: str, seen: Seen) -> None:
        if seen.sending:
            seen.sending.cancel()
        seen.sending = None
        self._holder.present(name, here=False)

    async def _supply(self, peer: Peer) -> None:
        say(Level.NOTICE, f"{peer.name} gets records")
        with peer.there() as outbox:
            for number, message in enumerate(self._holder.missed(), 1):
                await self._put(peer, message)
                if number % BURST == 0:
                    await asyncio.sleep(PAUSE)
            while True:
                await self._put(peer, await outbox.get())

    async def _put(self, peer: Peer, datagram: bytes) -> None:
        loop, target = asyncio.get_running_loop(), (peer.name, peer.address.port)
        try:
            await loop.sock_sendto(self._socket, datagram, target)
        except OSError:  # such as that nobody listens there: it says so itself when it comes
            return
        peer.sent += not datagram.startswith(HELLO)
