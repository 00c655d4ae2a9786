"""The netlink fuzzer of the module's family: build it, run it in a guest, see what it leaves."""

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tests.harness import module, slabs
from tests.harness.netns import execute

HERE = Path(__file__).parent
KERNEL = module.SOURCES
HOME = module.REPOSITORY / "build" / "fuzz" / "netlink"
FLAGS = ("-O1", "-g", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", f"-I{KERNEL}")
TIME_LIMIT = 15 * 60.0
TROUBLE = re.compile(
    r"WARNING|BUG|Oops|Call Trace|refcount|general protection|scheduling while atomic|RCU.*stall"
    r"|soft lockup|waiting for \S+ to become free|possible recursive locking|still has objects",
    re.IGNORECASE,
)
MEMORY = ("MemFree", "Slab", "SUnreclaim", "Percpu", "VmallocUsed")
SLACK = {"SUnreclaim": 4096, "Percpu": 256, "VmallocUsed": 512}  # kB
FREED = 0.5  # seconds in which more nodes are freed, if any still are
OTHERS = 200  # objects of merged caches that are not of the module


class FuzzError(Exception):
    """The kernel does not do what it must; says what."""


def program() -> Path:
    """Return the fuzzer, compiled if it is not up to date: in a guest that takes a while."""
    built_from = [*sorted(HERE.glob("*.[ch]")), KERNEL / "uapi" / "vip_shim.h"]
    digest = sha256(b"".join(path.read_bytes() for path in built_from)).hexdigest()
    built = HOME / f"netlink-{digest[:16]}"
    if not built.exists():
        HOME.mkdir(parents=True, exist_ok=True)
        sources = [str(path) for path in built_from if path.suffix == ".c"]
        partial = built.with_suffix(".partial")
        subprocess.run(["gcc", *FLAGS, *sources, "-o", str(partial)], check=True)
        partial.rename(built)
    return built


def fuzz(seed: int, messages: int) -> str:
    """Run it; return what it prints."""
    argv = [str(program()), str(seed), str(messages)]
    done = execute(argv, check=False, timeout=TIME_LIMIT)
    if done.returncode:
        raise FuzzError(f"{' '.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def without_words(report: str) -> set[tuple[str, str]]:
    """Return the commands that refused a well-formed message without a reason, and the errors.

    Not that a socket's dump is still going on, of which the kernel's netlink never says more.
    """
    found = re.findall(r"^without words: (\S+) (\S+) \d+$", report, re.MULTILINE)
    return set(found) - {("GET", "EBUSY"), ("GET_SERVICE", "EBUSY")}


@dataclass(frozen=True, slots=True)
class Held:
    """What the kernel holds: kB of memory, nodes of the module's tries."""

    memory: dict[str, int]
    nodes: dict[str, int]

    def __str__(self) -> str:
        return " ".join(f"{key} {value}" for key, value in (self.memory | self.nodes).items())


def held() -> Held:
    """Measure, once what waits to be freed is freed."""
    execute(["sync"])
    Path("/proc/sys/vm/drop_caches").write_text("3\n")
    lines = Path("/proc/meminfo").read_text().splitlines()
    memory = {
        name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)
    }
    return Held({name: memory[name] for name in MEMORY}, _nodes())


def _nodes() -> dict[str, int]:
    """Count the nodes in use, once no more are freed: the module does that by and by."""
    before: dict[str, int] = {}
    found = {name: slabs.objects(name) for name in slabs.NODES if slabs.exist(name)}
    while found != before:
        time.sleep(FREED)
        before, found = found, {name: slabs.objects(name) for name in found}
    return found


@contextmanager
def silence() -> Iterator[None]:
    """Raise FuzzError if the kernel complains meanwhile."""
    mark = f"vip_shim fuzz: from here on, {time.monotonic()}"
    Path("/dev/kmsg").write_text(f"<5>{mark}\n")
    yield
    said = execute(["dmesg"]).stdout.rpartition(mark)[2]
    if TROUBLE.search(said):
        raise FuzzError(said)


def check_leaks(before: Held, after: Held) -> None:
    """Raise FuzzError if more is held than before, beyond what comes and goes by itself."""
    grown = {name: after.memory[name] - before.memory[name] for name in SLACK}
    leaks = [f"{name} has grown by {grown[name]} kB" for name in SLACK if grown[name] > SLACK[name]]
    for name, objects in after.nodes.items():
        allowed = 0 if slabs.is_alone(name) else before.nodes[name] + OTHERS
        if objects > allowed:
            leaks.append(f"{objects} objects of {name}, {before.nodes[name]} before")
    if leaks:
        raise FuzzError(f"{'; '.join(leaks)}\nbefore: {before}\nafter:  {after}")
