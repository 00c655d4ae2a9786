"""What the kernel holds: unreclaimable slabs, vmalloc and per-processor memory."""

import time
from pathlib import Path

COUNTED = ("SUnreclaim", "VmallocUsed", "Percpu")
STEADY = 1 << 20  # bytes
INTERVAL = 0.2
CALM = 0.8  # seconds
DELAY = 6.0  # seconds: kfree_rcu may take five before it begins
LIMIT = 30.0


def held() -> int:
    """Return bytes."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    known = {name.rstrip(":"): int(value) << 10 for name, value, *_ in lines}
    return sum(known[name] for name in COUNTED)


def settled(quiet: float = CALM) -> int:
    """Wait until nothing changes for so long: namespaces and sets go in the background."""
    deadline, last, calm = time.monotonic() + LIMIT, held(), 0.0
    while calm < quiet and time.monotonic() < deadline:
        time.sleep(INTERVAL)
        now = held()
        calm = calm + INTERVAL if abs(now - last) < STEADY else 0.0
        last = now
    return last
