"""What is waited for an answer, where the daemon itself comes too late."""

import asyncio
import time
from collections.abc import Callable

import pytest

from vipctl.probing.asking import Unasked
from vipctl.probing.limits import limit

TIMEOUT = 0.2  # seconds


def lost(share: float) -> Callable[[], float]:
    """Of all time, so much is lost."""
    begun = time.monotonic()
    return lambda: share * (time.monotonic() - begun)


async def _silence(share: float) -> float:
    begun = time.monotonic()
    try:
        async with limit(TIMEOUT, lost(share)):
            await asyncio.sleep(60)
    finally:
        seconds = time.monotonic() - begun
    return seconds


@pytest.mark.parametrize("share", [0.0, 0.3, 0.45])
def test_who_is_silent_as_long_as_the_daemon_listened_has_failed(share: float) -> None:
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(_silence(share))
    assert (time.monotonic() - begun) * (1 - share) >= TIMEOUT


@pytest.mark.parametrize("share", [0.6, 0.95])
def test_where_the_daemon_hardly_listened_nobody_knows(share: float) -> None:
    with pytest.raises(Unasked, match="got no processor for 0"):
        asyncio.run(_silence(share))


def test_who_answers_when_it_goes_on_has_answered() -> None:
    """The loop stood still for longer than the timeout."""

    async def answered() -> str:
        begun = time.monotonic()
        async with limit(TIMEOUT, lambda: max(0.0, time.monotonic() - begun - 0.05)):
            time.sleep(2 * TIMEOUT)
            await asyncio.sleep(0)
            return "here"

    assert asyncio.run(answered()) == "here"


def test_what_fails_in_time_is_told_as_it_is() -> None:
    async def fails() -> None:
        async with limit(TIMEOUT, lost(0.95)):
            raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        asyncio.run(fails())
