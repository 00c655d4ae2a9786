"""One line of an agent, over TCP, after what is to be sent first."""

import asyncio
import re

from vipctl.probing.asking import Asking, Failed, connected

LONGEST = 4096  # bytes of a line


async def line(asking: Asking, first: bytes) -> bytes:
    """With its end, or until the agent closes the connection. Raises Failed without one."""
    loop, found = asyncio.get_running_loop(), b""
    async with connected(asking) as sock:
        await loop.sock_sendall(sock, first)
        while not re.search(rb"[\r\n]", found) and len(found) <= LONGEST:
            piece = await loop.sock_recv(sock, LONGEST)
            if not piece:
                break
            found += piece
    if not found:
        raise Failed(f"{asking.endpoint} says nothing")
    one = re.split(rb"[\r\n]", found, maxsplit=1)[0]
    if len(one) > LONGEST:
        raise Failed(f"{asking.endpoint} says more than {LONGEST >> 10} KiB in a line")
    return one
