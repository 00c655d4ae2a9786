"""One question on its way, and the sockets that it goes by."""

import asyncio
import errno
import itertools
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from vipctl.addresses.prefixes import AF, bracketed
from vipctl.linux import answers
from vipctl.services import marks
from vipctl.services.checks import Check, Target

RESET = struct.pack("ii", 1, 0)  # struct linger: a close that leaves nothing behind, on either side
TAKEN = errno.EADDRINUSE, errno.EADDRNOTAVAIL
_turn = itertools.count()


class Failed(Exception):
    """The real server does not pass, and why."""


class Unasked(Exception):
    """Nobody knows, and why."""


class Asking:
    """A check of a target; `stage` says what has not come yet."""

    __slots__ = ("check", "stage", "target")

    def __init__(self, target: Target, check: Check) -> None:
        self.target, self.check, self.stage = target, check, "no answer"

    @property
    def endpoint(self) -> str:
        host, port = bracketed(self.target.address), self.target.port
        return f"{host}:{port}" if port else host

    @property
    def address(self) -> tuple[str, int]:
        return str(self.target.address), self.target.port


@asynccontextmanager
async def connected(
    asking: Asking, kind: socket.SocketKind = socket.SOCK_STREAM
) -> AsyncIterator[socket.socket]:
    """Connected to the target; TCP ends by a reset, so no port of the director waits after it."""
    with connecting(asking, kind) as sock:
        asking.stage = f"no connection to {asking.endpoint}"
        await _writable(sock)
        asking.stage = "connected, but no answer"
        yield sock


def connecting(asking: Asking, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """On its way to the target: when it can be written to, `refused` tells what came of it."""
    for port in _ports(asking.target):
        try:
            return _connecting_from(port, asking, kind)
        except OSError as e:
            if not (asking.target.mark and e.errno in TAKEN):
                raise
    raise Unasked(f"{asking.endpoint} was not asked: no port is free")


def _connecting_from(port: int, asking: Asking, kind: socket.SocketKind) -> socket.socket:
    target = asking.target
    sock = socket.socket(AF[target.address.version], kind | socket.SOCK_NONBLOCK)
    try:
        if kind is socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if target.mark and target.real:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind is socket.SOCK_STREAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, target.mark)
            sock.bind((answers.asked_from(target.address, target.real), port))
        elif target.source:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, target.device.encode())
            sock.bind((str(target.source), 0))
        _raise(sock.connect_ex(asking.address), errno.EINPROGRESS)
    except BaseException:
        sock.close()
        raise
    return sock


async def _writable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(sock, _set, ready)
    try:
        await ready
    finally:
        loop.remove_writer(sock)
    refused(sock)


def refused(sock: socket.socket) -> None:
    """Raises OSError if it was."""
    _raise(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def _raise(number: int, *expected: int) -> None:
    if number and number not in expected:
        raise OSError(number, os.strerror(number))


def _set(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


def _ports(target: Target) -> tuple[int, ...]:
    """Those to ask from, in turn; 0 is any.

    Through a VIP they belong to the mark: IPVS remembers for a minute which real server a port
    asked in vain, so no two real servers may be asked from one. Firewalls may name them too.
    """
    if not target.mark:
        return (0,)
    own = marks.check_ports(target.mark)
    at = next(_turn) % len(own)
    return (*own[at:], *own[:at])
