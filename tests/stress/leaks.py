"""What the module allocates and loses, as kmemleak finds it: in a debug guest with kmemleak=on."""

import sys
import time
from pathlib import Path

from tests.harness import module
from tests.harness.netns import Namespace, execute
from vipctl.linux import shim
from vipctl.linux.shim import messages
from vipctl.services import batch
from vipctl.services.batch import Batch
from vipctl.services.change import Entry, Shape
from vipctl.services.values import Port

KMEMLEAK = Path("/sys/kernel/debug/kmemleak")
OLD_ENOUGH = 6.0  # seconds until kmemleak takes an object for lost
ROUNDS = 5
MANY = 2_000
MARKS = range(100, 110)


def scan() -> str:
    """Return what is lost by now; what two scans find is not on its way somewhere."""
    for _ in range(2):
        time.sleep(OLD_ENOUGH)
        KMEMLEAK.write_text("scan")
    return KMEMLEAK.read_text()


def prefixes(number: int, mark: int) -> Batch:
    """So many scattered prefixes of both IP versions."""
    scattered = [(10 << 24) + (i * 2654435761) % (1 << 24) for i in range(mark, mark + number)]
    return batch.of_entries(
        Entry(Shape(version, i % 3, 32 if version == 4 else 128), start, mark)
        for i, start in enumerate(scattered)
        for version in (4, 6)
    )


def exercise() -> None:
    """All that allocates, in a namespace that is left with what it has."""
    with shim.changing() as commands:
        for mark in MARKS:
            commands.set_service(mark, shim.Settings(0, (Port("tcp", mark),)))
            commands.set_service(mark, shim.Settings(shim.PING, ()))
            commands.add(prefixes(MANY, mark))
            commands.delete(prefixes(MANY // 2, mark))
    with shim.replacing() as commands:
        for mark in MARKS:
            commands.set_service(mark, shim.Settings(shim.DROP, ()))
            commands.add(prefixes(MANY, mark))
    assert shim.services()
    assert batch.count(shim.prefixes()) > MANY
    with shim._netlink() as link:  # a state that is begun and never put in use
        messages.do(link, "BEGIN")
        shim.Commands(link, staged=True).set_service(1, shim.Settings(0, ()))
        shim.Commands(link, staged=True).add(prefixes(MANY, 1))


def main() -> int:
    """Return 1 if something is lost."""
    if not KMEMLEAK.exists():
        execute(["mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"])
    KMEMLEAK.write_text("clear")
    for number in range(ROUNDS):
        module.load()
        hosts = [Namespace.create(f"leak{number}{i}") for i in range(2)]
        for host in hosts:
            host.ip("link set lo up", "addr add 10.0.0.1/24 dev lo", "addr add fd00::1/64 dev lo")
            with host:
                exercise()
        with hosts[0]:
            shim.flush()
        for host in hosts:
            host.close()
        module.unload()
        print(f"round {number + 1} of {ROUNDS}", flush=True)
    found = scan()
    print(found or "kmemleak: nothing is lost")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
