"""Programs that run, by network namespace: what acts on the same routes, rules and tables."""

import os
from collections.abc import Iterator
from typing import NamedTuple

from vipctl import files

PROC = "/proc"
START = 19  # behind the name: the 22nd of proc_pid_stat(5)
INTERPRETERS = ("python", "perl", "bash", "sh", "dash")


class Seen(NamedTuple):
    """The programs in this network namespace; not `whole` if not all processes may be looked at."""

    names: frozenset[str]
    whole: bool


def of_this_namespace() -> Seen:
    here, names, whole = _namespace("thread-self"), set[str](), True
    for name in os.listdir(PROC):
        if not name.isdigit():
            continue
        try:
            if _namespace(name) == here:
                names.update(_programs(name))
        except PermissionError:
            whole = False
        except OSError:  # it has ended, or is a thread of the kernel's
            continue
    return Seen(frozenset(names), whole)


def is_of_init() -> bool:
    """Whether this network namespace is that of process 1. Raises PermissionError."""
    return _namespace("1") == _namespace("thread-self")


def started(process: int) -> float:
    """When a process began, in seconds since 1970, as the clock is now. Raises OSError."""
    ticks = files.text(f"{PROC}/{process}/stat").rpartition(")")[2].split()[START]
    lines = files.text(f"{PROC}/stat").splitlines()
    booted = next(line.split()[1] for line in lines if line.startswith("btime "))
    return int(booted) + int(ticks) / os.sysconf("SC_CLK_TCK")


def interpreter(process: int) -> str:
    """The first word of its command line. Raises OSError."""
    return files.text(f"{PROC}/{process}/cmdline").split("\0")[0]


def _namespace(process: str) -> int:
    return os.stat(f"{PROC}/{process}/ns/net").st_ino


def _programs(process: str) -> Iterator[str]:
    """Its own name, and that of the script that it runs."""
    name = os.path.basename(os.readlink(f"{PROC}/{process}/exe"))
    yield name.removesuffix(" (deleted)")
    if name.startswith(INTERPRETERS):
        words = files.text(f"{PROC}/{process}/cmdline").split("\0")[1:]
        yield from (os.path.basename(word) for word in words[:2] if word.startswith("/"))
