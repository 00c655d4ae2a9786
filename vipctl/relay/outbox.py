"""What waits for one peer: so many messages, of which the oldest go if there are more."""

import asyncio
from collections import deque

MOST = 2048  # messages; up to 3 MB


class Outbox:
    """`dropped` counts the messages that a slow peer has not got."""

    def __init__(self, most: int = MOST) -> None:
        self._waiting: deque[bytes] = deque()
        self._most = most
        self._some = asyncio.Event()
        self.dropped = 0

    def put(self, message: bytes) -> None:
        """Never waits."""
        if len(self._waiting) == self._most:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(message)
        self._some.set()

    async def get(self) -> bytes:
        """The oldest, once there is one."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        return self._waiting.popleft()
