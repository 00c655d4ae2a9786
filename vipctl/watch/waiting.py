"""Waiting for an event, but not for ever."""

import asyncio
import time


async def until(event: asyncio.Event, when: float | None) -> None:
    """Until it is set or, by time.monotonic(), that time has come."""
    try:
        async with asyncio.timeout(None if when is None else max(0, when - time.monotonic())):
            await event.wait()
    except TimeoutError:
        return
