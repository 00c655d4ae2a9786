"""A real server that answers every kind of check: `python -m benchmarks.probing.server CERT`."""

import asyncio
import ssl
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
QUESTION = 12  # bytes of a DNS message's head


class Datagrams(asyncio.DatagramProtocol):
    """Says what it hears; to a question of DNS, that it is an answer with one address."""

    def __init__(self, *, names: bool) -> None:
        self.names = names

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = _answer(data) if self.names else data
        self.transport.sendto(answer, addr)  # type: ignore[attr-defined]


def _answer(question: bytes) -> bytes:
    head = question[:2] + b"\x81\x80\0\1\0\1\0\0\0\0"
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"
    return head + question[QUESTION:] + record


async def _talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        writer.close()


async def main(certificate: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    for names, port in ((False, 9), (True, 53)):
        await loop.create_datagram_endpoint(
            lambda names=names: Datagrams(names=names),  # type: ignore[misc]
            ("0.0.0.0", port),
        )
    await asyncio.start_server(_talk, "0.0.0.0", 80, backlog=4096)
    await asyncio.start_server(_talk, "0.0.0.0", 443, ssl=context, backlog=4096)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
