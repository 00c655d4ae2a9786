"""Bounded polling, for what the kernel or another process does in its own time."""

import time
from collections.abc import Callable

LIMIT = 30.0
INTERVAL = 0.01


def wait_until(holds: Callable[[], bool], what: str, limit: float = LIMIT) -> None:
    """Poll until `holds()`; raise TimeoutError that says `what` was waited for."""
    deadline = time.monotonic() + limit
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {limit} s it is not true that {what}")
        time.sleep(INTERVAL)
