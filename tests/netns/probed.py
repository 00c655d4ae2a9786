"""Servers to be checked, good and bad, and a director that asks them."""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import trustme

from tests.harness.lab import Lab, lab
from tests.harness.netns import Namespace
from tests.harness.servers import ScriptedServer
from vipctl.probing import probe
from vipctl.services.checks import Answer, Target, parse_check

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
PAUSE = 0.02
Script = Callable[[socket.socket], None]


@dataclass(frozen=True)
class Asked:
    """A director, and the real server that it asks."""

    net: Lab

    @property
    def real(self) -> Namespace:
        return self.net.reals[0]

    def target(self, port: int = 80, version: int = 4) -> Target:
        address = self.net.real4(0) if version == 4 else self.net.real6(0)
        return Target(ip_address(address), port)

    def answer(self, text: str, port: int = 80, version: int = 4) -> Answer:
        """What comes of a check, asked once."""
        return self.answers([(text, port)], version)[0]

    def answers(self, asked: Iterable[tuple[str, int]], version: int = 4) -> list[Answer]:
        """The same of several at once."""

        async def ask() -> list[Answer]:
            probes = (probe(self.target(p, version), parse_check(text)) for text, p in asked)
            return await asyncio.gather(*probes)

        with self.net.director:
            return asyncio.run(ask())

    @contextmanager
    def serving(self, script: Script, port: int = 80) -> Iterator[ScriptedServer]:
        server = ScriptedServer(self.real, "0.0.0.0", port, script)
        try:
            yield server
        finally:
            server.close()


@contextmanager
def asked_lab() -> Iterator[Asked]:
    with lab(reals=1) as built:
        yield Asked(built)


def read_request(connection: socket.socket) -> bytes:
    found = b""
    while b"\r\n\r\n" not in found and (piece := connection.recv(65536)):
        found += piece
    return found


def saying(answer: bytes, *, hold: bool = False) -> Script:
    """Answers every request, and closes, unless the connection is held open."""

    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer)
        if hold:
            connection.recv(1)

    return script


def dripping(begin: bytes, drop: bytes) -> Script:
    """Goes on forever, a little at a time."""

    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(begin)
        while True:
            connection.sendall(drop)
            time.sleep(PAUSE)

    return script


def pouring(begin: bytes, drop: bytes) -> Script:
    """Goes on forever, as fast as it is read."""

    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(begin)
        while True:
            connection.sendall(drop)

    return script


def silent(connection: socket.socket) -> None:
    """Accepts, and says nothing."""
    connection.recv(1 << 20)
    connection.recv(1 << 20)


def resetting(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def encrypted(script: Script, certificates: Mapping[str, trustme.LeafCert]) -> Script:
    """By TLS; the first certificate is for clients who ask for none of these names."""
    contexts = {name: _context(certificate) for name, certificate in certificates.items()}
    first = next(iter(contexts.values()))

    def choose(sock: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        sock.context = contexts.get(name or "", first)

    first.sni_callback = choose

    def talk(connection: socket.socket) -> None:
        with suppress(ssl.SSLError), first.wrap_socket(connection, server_side=True) as tls:
            script(tls)

    return talk


def _context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def descriptors() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))
