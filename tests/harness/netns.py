"""Network namespaces that stand for hosts; `ip netns exec NAME …` reaches them as well."""

import atexit
import ctypes
import itertools
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLONE_NEWNET = 0x40000000  # linux/sched.h
NAMED = Path("/run/netns")
PREFIX = "vt"
TIME_LIMIT = 120.0

# Tests neither wait for duplicate address detection nor inherit this machine's filters.
QUIET = {
    "net.ipv6.conf.all.accept_dad": 0,
    "net.ipv6.conf.default.accept_dad": 0,
    "net.ipv6.conf.default.router_solicitations": 0,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
}

_libc = ctypes.CDLL(None, use_errno=True)
_serial = itertools.count(1)
_live: dict[str, list[Callable[[], None]]] = {}  # by name: what to do before the removal
_entered = threading.local()


class CommandError(Exception):
    """A command in a namespace failed; says what it printed."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace. `with namespace:` moves the calling thread into it, and back."""

    name: str

    @classmethod
    def create(cls, role: str) -> "Namespace":
        """Create a namespace with a unique name that ends in `role`, loopback up."""
        namespace = cls(f"{PREFIX}-{os.getpid()}-{next(_serial)}-{role}")
        _live[namespace.name] = []
        execute(["ip", "netns", "add", namespace.name])
        for key, value in QUIET.items():
            if key.startswith("net.ipv4") or Path("/proc/net/if_inet6").exists():
                namespace.sysctl(key, value)
        namespace.ip("link set lo up")
        return namespace

    def __enter__(self) -> "Namespace":
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        target = os.open(NAMED / self.name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(target)
        finally:
            os.close(target)
        _stack().append(before)
        return self

    def __exit__(self, *_: object) -> None:
        before = _stack().pop()
        try:
            _setns(before)
        finally:
            os.close(before)

    def run(
        self,
        argv: list[str],
        *,
        check: bool = True,
        timeout: float | None = TIME_LIMIT,
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on this host; raise CommandError if it fails and `check` is set."""
        entered = ["ip", "netns", "exec", self.name, *argv]
        return execute(entered, check=check, timeout=timeout, **options)

    def ip(self, *commands: str) -> None:
        """Run lines of `ip -batch` on this host, in one process."""
        execute(["ip", "-n", self.name, "-batch", "-"], input="\n".join(commands) + "\n")

    def sysctl(self, key: str, value: str | int | None = None) -> str:
        """Return a sysctl of this host, after setting it if a value is given."""
        path = Path("/proc/sys") / key.replace(".", "/")
        with self:
            if value is not None:
                path.write_text(f"{value}\n")
            return path.read_text().strip()

    def proc_net(self, name: str) -> str:
        """Return the text of `/proc/net/NAME` as this host sees it."""
        with self:
            return (Path("/proc/thread-self/net") / name).read_text()

    def processes(self) -> list[int]:
        """Return the processes on this host, this one excepted."""
        inode = (NAMED / self.name).stat().st_ino
        return [pid for pid in _all_processes() if pid != os.getpid() and _net(pid) == inode]

    def at_close(self, callback: Callable[[], None]) -> None:
        """Have `callback` called before the host is removed, to close what would keep it alive."""
        _live[self.name].append(callback)

    def close(self) -> None:
        """Kill the host's processes and remove it; safe to repeat."""
        for callback in _live.pop(self.name, []):
            callback()
        with suppress(FileNotFoundError):
            for pid in self.processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            execute(["ip", "netns", "delete", self.name])


def execute(
    argv: list[str], *, check: bool = True, timeout: float | None = TIME_LIMIT, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command, with its output in the exception if it fails."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        argv, check=False, timeout=timeout, capture_output=True, text=True, **options
    )
    if check and done.returncode:
        said = done.stdout + done.stderr
        raise CommandError(f"{' '.join(argv)}: exit status {done.returncode}\n{said}")
    return done


def remove_orphans() -> None:
    """Remove namespaces of test runs that were killed outright."""
    for path in NAMED.glob(f"{PREFIX}-*-*-*"):
        owner = path.name.split("-")[1]
        if not Path("/proc", owner).exists():
            Namespace(path.name).close()


@atexit.register
def remove_own() -> None:
    """Remove the namespaces that this process still has."""
    for name in list(_live):
        Namespace(name).close()


def _stack() -> list[int]:
    if not hasattr(_entered, "stack"):
        _entered.stack = []
    stack: list[int] = _entered.stack
    return stack


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def _all_processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _net(pid: int) -> int:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return 0
