"""What the kernel has handed out, before a stress and after it."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.harness import slabs

MEMINFO = Path("/proc/meminfo")
KINDS = ("SUnreclaim", "Percpu", "VmallocUsed")
LIMITS = {"SUnreclaim": 16 << 10, "Percpu": 512, "VmallocUsed": 2 << 10}  # KiB of growth
NETS = "net_namespace"
NOISE = 3000  # objects of other caches that the module's are merged with, if they are
PATIENCE = 120.0  # seconds for what goes in the background


def used() -> dict[str, int]:
    """KiB by kind, and the network namespaces that there are."""
    lines = (line.split() for line in MEMINFO.read_text().splitlines())
    found = {words[0].rstrip(":"): int(words[1]) for words in lines}
    return {kind: found[kind] for kind in KINDS} | {NETS: slabs.objects(NETS)}


def leaks(before: dict[str, int]) -> list[str]:
    """What is used much more than before, once it has had its time to go down."""
    return _outwait(partial(_grown, before))


def _grown(before: dict[str, int]) -> list[str]:
    limits = {**LIMITS, NETS: 1}  # 6.12 frees the last when the next one goes
    return [
        f"{kind}: {before[kind]} before, {now} after"
        for kind, now in used().items()
        if now > before[kind] + limits[kind]
    ]


def nodes() -> dict[str, int]:
    """Return how many nodes there are, with the objects of caches that they are merged with."""
    return {cache: slabs.objects(cache) for cache in slabs.NODES}


def node_leaks(empty: dict[str, int]) -> list[str]:
    """Which nodes are there though nothing has prefixes, once they have had time to go."""
    return _outwait(partial(_left, empty))


def _left(empty: dict[str, int]) -> list[str]:
    return [
        f"{count - empty[cache]} {cache} left"
        for cache, count in nodes().items()
        if count > empty[cache] + (0 if slabs.is_alone(cache) else NOISE)
    ]


def _outwait(faults: Callable[[], list[str]]) -> list[str]:
    deadline = time.monotonic() + PATIENCE
    while (found := faults()) and time.monotonic() < deadline:
        time.sleep(1)
    return found
