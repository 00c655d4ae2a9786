"""How long an answer is waited for: its timeout, of time in which the daemon got a processor."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from vipctl.probing.asking import Unasked

MOST = 2.0  # times its timeout, after which nobody knows

Late = Callable[[], float]  # seconds that the daemon's loop came too late, all together


def not_heard(lost: float) -> str:
    """Why nobody knows, where the daemon lost so many seconds."""
    return f"vipctl watch got no processor for {lost:.2f} s"


def never() -> float:
    """Of a process that asks once, and has no loop that others wait for."""
    return 0.0


@asynccontextmanager
async def limit(timeout: float, late: Late) -> AsyncIterator[None]:
    """Raises TimeoutError when it is over; Unasked if the daemon could not listen half the time."""
    loop, before = asyncio.get_running_loop(), late()
    begun = loop.time()
    async with asyncio.timeout(None) as inner:

        def judge() -> None:
            over = begun + min(timeout + late() - before, MOST * timeout)
            if over > loop.time():
                waiting.append(loop.call_at(over, judge))
            else:
                inner.reschedule(loop.time())

        waiting = [loop.call_at(begun + timeout, judge)]
        try:
            yield
        finally:
            waiting[-1].cancel()
            if inner.expired() and (lost := late() - before) > timeout:
                raise Unasked(not_heard(lost))
