"""Check udp: a datagram is sent, and one that comes back begins as it should."""

import asyncio
import socket

from vipctl.probing.asking import Asking, Failed, connected

LARGEST = 65535


async def ask(asking: Asking) -> str:
    answer = await exchanged(asking, asking.check.send)
    if not answer.startswith(asking.check.expect):
        found = answer[: len(asking.check.expect)].hex()
        raise Failed(f"the answer begins with {found or 'nothing'}")
    return f"answers datagrams to {asking.endpoint}"


async def exchanged(asking: Asking, question: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    async with connected(asking, socket.SOCK_DGRAM) as sock:
        asking.stage = f"no answer from {asking.endpoint}"
        await loop.sock_sendall(sock, question)
        return await loop.sock_recv(sock, LARGEST)
