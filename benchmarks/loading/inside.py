"""In the guest: load the same list in turn, one line of JSON for each time.

python -m benchmarks.loading.inside RECORD SIZE
"""

import gc
import json
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

from benchmarks.datapath import plan
from tests.harness import module
from tests.harness.netns import Namespace, execute
from vipctl import methods
from vipctl.model import MARK_VALUE, Service

TIMES = 3
ETC = ("hosts", "ld.so.cache", "nsswitch.conf", "resolv.conf")
SETTLING = 60.0  # idle seconds cost nothing here


def main() -> int:
    """Measure; what is measured is in the record at once."""
    record, size = sys.argv[1:]
    case = plan.Case("shim", 4, int(size))
    module.load()
    _have_etc_in_memory()
    with tempfile.TemporaryDirectory() as scratch, Path(record).open("a") as out:
        saved = Path(scratch, "ipset")
        saved.write_text("".join(_saved(case)))
        for _ in range(TIMES):
            for what, load in (("shim", _load_shim(case)), ("ipset restore", _restore(saved))):
                line = _measured(what, load)
                print(line, flush=True)
                out.write(json.dumps(line) + "\n")
                out.flush()
    return 0


def _have_etc_in_memory() -> None:
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


def _load_shim(case: plan.Case) -> Callable[[Namespace], None]:
    """Load as the method does, from what the store hands out."""
    service = Service("bench", MARK_VALUE, "shim")
    acceptance, entries = plan.acceptance(case, service), list(plan.entries(case, MARK_VALUE))

    def load(host: Namespace) -> None:
        with host:
            methods.get("shim").load(acceptance, entries)

    return load


def _restore(saved: Path) -> Callable[[Namespace], None]:
    def load(host: Namespace) -> None:
        host.run(["ipset", "restore", "-file", str(saved)], timeout=None)

    return load


def _measured(what: str, load: Callable[[Namespace], None]) -> dict[str, object]:
    """Load into a new namespace; what the kernel keeps for it is memory."""
    with _namespace() as host:
        host.run(["ipset", "list"])  # read from the host's disk before it counts
        before, started = _used(), _spent()
        load(host)
        took = _spent() - started
        return {"what": what, "instructions": took, "bytes": _used() - before}


def _spent() -> int:
    """Return nanoseconds of this process and those it has waited for: the clock of a guest that
    counts runs on while it waits for the host's disk."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(sum(each.ru_utime + each.ru_stime for each in used) * 1e9)


@contextmanager
def _namespace() -> Iterator[Namespace]:
    host = Namespace.create("director")
    gc.collect()
    time.sleep(SETTLING)
    try:
        yield host
    finally:
        host.close()


def _used() -> int:
    """Return what is in use beside caches that can be dropped, and processes."""
    time.sleep(SETTLING)
    Path("/proc/sys/vm/drop_caches").write_text("3\n")
    numbers = re.findall(r"^(\w+): +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    found = {name: int(number) * 1024 for name, number in numbers}
    return found["MemTotal"] - found["MemFree"] - found["Cached"] - found["AnonPages"]


if __name__ == "__main__":
    sys.exit(main())
