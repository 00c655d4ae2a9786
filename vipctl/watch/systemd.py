"""What systemd is told of a service of Type=notify: sd_notify(3)."""

import asyncio
import os
import socket


def notify(*words: str) -> None:
    """Such as READY=1; nothing where systemd did not start us."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            path = f"\0{address[1:]}" if address.startswith("@") else address
            out.sendto("\n".join(words).encode(), path)


def watchdog() -> float | None:
    """Seconds between two signs of life, if systemd waits for any: half of what it allows."""
    allowed = int(os.environ.get("WATCHDOG_USEC", "0"))
    mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return allowed / 2_000_000 if allowed and mine else None


async def stay_alive() -> None:
    """Signs of life, as long as the loop turns."""
    seconds = watchdog()
    while seconds:
        notify("WATCHDOG=1")
        await asyncio.sleep(seconds)
