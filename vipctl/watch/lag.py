"""How late the loop is: who gets no processor must not take others for dead."""

import asyncio
import time

TICK = 0.1  # seconds


class Lag:
    """The seconds by which ticks came too late, all together."""

    def __init__(self) -> None:
        self._late = 0.0
        self._expected = time.monotonic() + TICK

    def total(self) -> float:
        return self._late + max(0.0, time.monotonic() - self._expected)

    async def measure(self) -> None:
        while True:
            self._expected = time.monotonic() + TICK
            await asyncio.sleep(TICK)
            self._late = self.total()
