"""In the guest: load the same list in turn, one line of JSON for each time.

python -m benchmarks.loading.inside RECORD SIZE
"""

import gc
import json
import re
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from benchmarks.datapath import plan
from tests.harness import module, slabs
from tests.harness.netns import Namespace, execute
from vipctl import methods
from vipctl.services import batch
from vipctl.services.marks import MARK_VALUE
from vipctl.services.service import Service

TIMES = 3
ETC = ("hosts", "ld.so.cache", "nsswitch.conf", "resolv.conf")


class Way(NamedTuple):
    """A way to load a list, and how to ask the kernel how much memory it keeps for it."""

    name: str
    load: Callable[[Namespace], None]
    nbytes: Callable[[Namespace], int]


def main() -> int:
    """Measure; what is measured is in the record at once."""
    record, size = sys.argv[1:]
    case = plan.Case("shim", 4, int(size))
    module.load()
    have_etc_in_memory()
    with tempfile.TemporaryDirectory() as scratch, Path(record).open("a") as out:
        saved = Path(scratch, "ipset")
        saved.write_text("".join(_saved(case)))
        ways = _shim(case), _ipset(saved)
        for _ in range(TIMES):
            for way in ways:
                line = _measured(way)
                print(line, flush=True)
                out.write(json.dumps(line) + "\n")
                out.flush()
    return 0


def have_etc_in_memory() -> None:
    """Or ipset asks the host's file system for /etc/resolv.conf at each address that it parses."""
    kept = {name: Path("/etc", name).read_bytes() for name in ETC}
    execute(["mount", "-t", "tmpfs", "tmpfs", "/etc"])
    for name, content in kept.items():
        Path("/etc", name).write_bytes(content)


def _saved(case: plan.Case) -> Iterator[str]:
    """Yield lines as `ipset save` writes them, of a set that need not grow as it is loaded."""
    size = 1 << (case.size - 1).bit_length()
    yield f"create vips hash:ip family inet hashsize {size} maxelem {size}\n"
    for entry in plan.entries(case, MARK_VALUE):
        yield f"add vips {ip_address(entry.start)}\n"


def _shim(case: plan.Case) -> Way:
    """As the method does, from what the store hands out."""
    service = Service("bench", MARK_VALUE, "shim")
    acceptance = plan.acceptance(case, service)
    wanted = batch.of_entries(plan.entries(case, MARK_VALUE))

    def load(host: Namespace) -> None:
        with host:
            methods.get("shim").load(acceptance, wanted)

    return Way("shim", load, lambda _: sum(map(slabs.nbytes, slabs.NODES)))


def _ipset(saved: Path) -> Way:
    def load(host: Namespace) -> None:
        host.run(["ipset", "restore", "-file", str(saved)], timeout=None)

    def nbytes(host: Namespace) -> int:
        listed = host.run(["ipset", "list", "-terse"]).stdout
        return int(re.findall(r"^Size in memory: (\d+)$", listed, re.MULTILINE)[0])

    return Way("ipset restore", load, nbytes)


def _measured(way: Way) -> dict[str, object]:
    """Load into a new namespace."""
    host = Namespace.create("director")
    try:
        host.run(["ipset", "list"])  # read from the host's disk before it counts
        started = spent()
        way.load(host)
        took = spent() - started
        return {"what": way.name, "instructions": took, "bytes": way.nbytes(host)}
    finally:
        host.close()
        gc.collect()


def spent() -> int:
    """Return nanoseconds of this process and those it has waited for.

    The clock of a guest that counts runs on while it waits for the host's disk.
    """
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(sum(each.ru_utime + each.ru_stime for each in used) * 1e9)


if __name__ == "__main__":
    sys.exit(main())
