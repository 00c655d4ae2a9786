"""Between directors by TLS, where both prove their address: the certificate of each names it.

Each director sends on connections that it opens, and takes from those that it accepts. So a peer
has come when a connection to it stands, and is told first what it has missed. It greets who sends
once it knows who that is, and says nothing more.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from ipaddress import ip_address
from typing import NamedTuple

from vipctl.errors import Missing
from vipctl.relay.outbox import Outbox
from vipctl.relay.transport import (
    GREETING,
    LENGTH,
    Address,
    Holder,
    Peer,
    Sent,
    bound,
    framed,
)
from vipctl.watch.journal import Level, say

PATIENCE = 10.0  # seconds for a connection to stand
HANGING = 30_000  # milliseconds for a peer to take something of what was sent
AGAIN = 1.0  # seconds until a connection is tried again
AHEAD = 1 << 16  # bytes that are on the way to a peer, in this process and in the kernel each
NEWCOMERS = 32  # connections of whom it is not known yet who they are
STRANGERS = "others"
WATCHED = {  # a peer that has lost power is missed after ten seconds while nothing is sent
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 4,
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): 2,
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT): 3,
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT): HANGING,
    (socket.SOL_SOCKET, socket.SO_SNDBUF): AHEAD,
}
FAILURES = (OSError, EOFError)  # ssl's and timeouts are OSErrors, the end of a stream an EOFError


class Streams:
    """A connection to a peer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        writer.transport.set_write_buffer_limits(AHEAD)
        for option, value in WATCHED.items():
            writer.get_extra_info("socket").setsockopt(*option, value)

    def close(self) -> None:
        self.writer.transport.abort()

    def hosts(self) -> list[str]:
        """Whose addresses the peer's certificate names."""
        names = self.writer.get_extra_info("ssl_object").getpeercert().get("subjectAltName", ())
        found = []
        for name in (name for kind, name in names if kind == "IP Address"):
            with suppress(ValueError):
                found.append(str(ip_address(name.strip())))
        return found

    async def greeted(self) -> None:
        """Raises ConnectionError if the peer is something else, FAILURES if it goes."""
        if await self.reader.readexactly(len(GREETING)) != GREETING:
            raise ConnectionError("it is no vipctl sync of this version")

    async def read(self) -> bytes:
        size = int.from_bytes(await self.reader.readexactly(LENGTH), "big")
        return await self.reader.readexactly(size)

    async def write(self, message: bytes) -> None:
        """Waits while the peer is behind."""
        self.writer.write(framed(message))
        await self.writer.drain()


class Papers(NamedTuple):
    """Files in PEM: who certifies directors; the certificate of this one, and its key."""

    ca: str
    cert: str
    key: str

    def context(self, protocol: "ssl._SSLMethod") -> ssl.SSLContext:
        """Raises Missing if a file cannot be used."""
        made = ssl.SSLContext(protocol)
        made.minimum_version = ssl.TLSVersion.TLSv1_3
        made.verify_mode = ssl.CERT_REQUIRED
        try:
            made.load_verify_locations(self.ca)
            made.load_cert_chain(self.cert, self.key, password=str)  # none: nobody is asked
        except OSError as e:
            what = f"cannot use {self.ca}, {self.cert} and {self.key}: {_said(e)}"
            hint = "name files in PEM, and a key that has no password and is of the certificate"
            raise Missing(what, hint=hint) from e
        return made


class Tls:
    """Raises Missing, or KernelError if this director cannot listen there."""

    def __init__(
        self, listen: Address, peers: Iterable[Address], papers: Papers, holder: Holder
    ) -> None:
        self._holder = holder
        self._peers = {str(peer.host): Peer(peer) for peer in peers}
        self._client = papers.context(ssl.PROTOCOL_TLS_CLIENT)
        self._server = papers.context(ssl.PROTOCOL_TLS_SERVER)
        self._taking: dict[str, Streams] = {}
        self._told: dict[str, str] = {}  # what was said last of each peer
        self._socket = bound(listen, socket.SOCK_STREAM)
        self._socket.listen()

    def send(self, message: bytes) -> None:
        for peer in self._peers.values():
            peer.put(message)

    def report(self) -> Mapping[str, Sent]:
        return {name: peer.report() for name, peer in self._peers.items()}

    async def run(self) -> None:
        with closing(self._socket):
            async with asyncio.TaskGroup() as tasks:
                for peer in self._peers.values():
                    tasks.create_task(self._reach(peer))
                await self._accept(tasks)

    async def _reach(self, peer: Peer) -> None:
        """Sends to a peer whenever that is possible."""
        while True:
            try:
                streams = await self._connected(peer.address)
                await self._supply(peer, streams)
            except* FAILURES as group:
                self._tell(f"to {peer.name}", f"{peer.name} gets no records: {_said(group)}")
            await asyncio.sleep(AGAIN)

    async def _connected(self, address: Address) -> Streams:
        host = str(address.host)
        async with asyncio.timeout(PATIENCE):
            streams = Streams(
                *await asyncio.open_connection(
                    host, address.port, ssl=self._client, server_hostname=host
                )
            )
            try:
                await streams.greeted()
            except BaseException:
                streams.close()
                raise
        return streams

    async def _supply(self, peer: Peer, streams: Streams) -> None:
        """Until the connection ends. Raises FAILURES, in a group."""
        with closing(streams), peer.there() as outbox:
            self._tell(f"to {peer.name}", f"{peer.name} gets records", Level.NOTICE)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._send(peer, outbox, streams))
                await streams.reader.read(1)  # it says nothing more
                raise ConnectionResetError("it has closed the connection")

    async def _send(self, peer: Peer, outbox: Outbox, streams: Streams) -> None:
        for message in self._holder.missed():
            await streams.write(message)
            peer.sent += 1
        while True:
            await streams.write(await outbox.get())
            peer.sent += 1

    async def _accept(self, tasks: asyncio.TaskGroup) -> None:
        room = asyncio.Semaphore(NEWCOMERS)
        while True:
            await room.acquire()
            try:
                connection, (host, *_) = await asyncio.get_running_loop().sock_accept(self._socket)
            except OSError:  # it has gone meanwhile
                room.release()
            else:
                tasks.create_task(self._meet(connection, host, room))

    async def _meet(self, connection: socket.socket, host: str, room: asyncio.Semaphore) -> None:
        """Takes records of who proves to be a peer."""
        try:
            name, streams = await self._proved(connection)
        except FAILURES as e:
            connection.close()
            whom = f"from {host}" if host in self._peers else STRANGERS
            self._tell(whom, f"{host} is not let in: {_said(e)}")
            return
        finally:
            room.release()
        with closing(streams):
            await self._take(name, streams)

    async def _proved(self, connection: socket.socket) -> tuple[str, Streams]:
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, connection, ssl=self._server, ssl_handshake_timeout=PATIENCE
        )
        streams = Streams(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
        try:
            return self._named(streams.hosts()), streams
        except ConnectionError:
            streams.close()
            raise

    def _named(self, hosts: list[str]) -> str:
        for host in hosts:
            if host in self._peers:
                return host
        raise ConnectionError(f"its certificate names no peer, but {', '.join(hosts) or 'nobody'}")

    async def _take(self, name: str, streams: Streams) -> None:
        """In place of an earlier connection, which the peer has given up, if there is one."""
        if former := self._taking.pop(name, None):
            former.close()
        self._taking[name] = streams
        self._holder.present(name, here=True)
        streams.writer.write(GREETING)
        try:
            while True:
                self._holder.take(name, await streams.read())
        except FAILURES:
            if self._taking.get(name) is streams:
                del self._taking[name]
                self._holder.present(name, here=False)

    def _tell(self, whom: str, text: str, level: Level = Level.WARNING) -> None:
        """Says it, unless it is what was said of them last."""
        if self._told.get(whom) != text:
            self._told[whom] = text
            say(level, text)


def _said(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, TimeoutError) and not error.errno:
        return "it does not answer"
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)
    plain = isinstance(error, asyncio.IncompleteReadError) or not str(error)
    return "it has closed the connection" if plain else str(error)
