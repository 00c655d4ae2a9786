"""Checks http and https: the status of an answer and, if asked for, its body.

At most MOST_HEAD bytes of status and headers are read, and MOST_BODY of a body; none if only the
status matters.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

from vipctl.probing import limits
from vipctl.probing.asking import Asking, Failed, connected
from vipctl.services.checks import Check

if TYPE_CHECKING:
    import socket
    from http.client import HTTPResponse

MOST_HEAD, MOST_BODY = 16 << 10, 64 << 10
PIECE = 16 << 10
STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[ \r\n]")
USUAL_PORT = {"http": 80, "https": 443}
Read = Callable[[], Awaitable[bytes]]  # what comes next; nothing at the end


async def ask(asking: Asking) -> str:
    async with _spoken(asking) as read:
        head, rest = await _head(read)
        status = _status(head, asking.check)
        if not asking.check.body:
            return f"answers with status {status}"
        asking.stage = f"status {status}, but no whole body"
        body = await _body(head, rest, read)
        if not re.search(asking.check.body.encode(), body):
            raise Failed(f"status {status}, but the body has nothing like {asking.check.body}")
        return f"answers with status {status} and the body that it should have"


@asynccontextmanager
async def _spoken(asking: Asking) -> AsyncIterator[Read]:
    """The question is asked; yields what reads the answer."""
    async with connected(asking) as sock:
        if asking.check.kind == "https":
            async with _encrypted(asking, sock) as (reader, writer):
                writer.write(_request(asking))
                yield lambda: reader.read(PIECE)
        else:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sock, _request(asking))
            yield lambda: loop.sock_recv(sock, PIECE)


@asynccontextmanager
async def _encrypted(
    asking: Asking, sock: "socket.socket"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    asking.stage = "connected, but no TLS handshake"
    check = asking.check
    reader, writer = await asyncio.open_connection(
        sock=sock,
        ssl=_context(verified=check.verify),
        server_hostname=check.sni or check.host or "",
        ssl_handshake_timeout=limits.MOST * check.timeout + 1,  # the limit of the whole comes first
        limit=PIECE,
    )
    asking.stage = "connected with TLS, but no answer"
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@cache
def _context(*, verified: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verified:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _request(asking: Asking) -> bytes:
    check, (address, port) = asking.check, asking.address
    host = check.host or (f"[{address}]" if ":" in address else address)
    host += "" if check.host or port == USUAL_PORT[check.kind] else f":{port}"
    lines = (f"GET {check.what} HTTP/1.1", f"Host: {host}", "User-Agent: vipctl", "Accept: */*")
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode()


async def _head(read: Read) -> tuple[bytes, bytes]:
    """Status and headers, with the empty line behind them; and what came of the body with it."""
    found = b""
    while (end := found.find(b"\r\n\r\n")) < 0:
        if len(found) > MOST_HEAD:
            raise Failed(f"more than {MOST_HEAD >> 10} KiB of headers")
        piece = await read()
        if not piece:
            raise Failed("the connection was closed before an answer was whole")
        found += piece
    return found[: end + 4], found[end + 4 :]


def _status(head: bytes, check: Check) -> int:
    found = STATUS.match(head)
    if not found:
        raise Failed(f"the answer is not HTTP: {head[:20]!r}")
    status, (low, high) = int(found[1]), check.status
    if not low <= status <= high:
        raise Failed(f"status {status}")
    return status


class _Held(NamedTuple):
    """Stands for the socket of an HTTPResponse."""

    data: bytes

    def makefile(self, _mode: str) -> BytesIO:
        return BytesIO(self.data)


async def _body(head: bytes, rest: bytes, read: Read) -> bytes:
    """As much as there is, up to MOST_BODY bytes, without the marks of chunks."""
    response = _response(head)
    length = MOST_BODY if response.length is None else min(response.length, MOST_BODY)
    while len(rest) < length and not (response.chunked and rest.endswith(b"0\r\n\r\n")):
        piece = await read()
        if not piece:
            break
        rest += piece
    return _decoded(head, rest[:MOST_BODY])


def _response(data: bytes) -> "HTTPResponse":
    from http.client import HTTPException, HTTPResponse

    response = HTTPResponse(_Held(data))  # type: ignore[arg-type]
    try:
        response.begin()
    except (HTTPException, ValueError) as e:
        raise Failed(f"the answer is not HTTP: {e}") from e
    return response


def _decoded(head: bytes, rest: bytes) -> bytes:
    from http.client import HTTPException, IncompleteRead

    try:
        return _response(head + rest).read()
    except IncompleteRead as e:
        return e.partial
    except (HTTPException, ValueError) as e:
        raise Failed(f"the answer is not HTTP: {e}") from e
