"""Run something where /proc/sys cannot be written, as in many containers."""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

CLONE_FS, CLONE_NEWNS = 0x200, 0x20000  # linux/sched.h
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18  # linux/mount.h
SYSCTLS = b"/proc/sys"

T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)


def with_read_only_sysctls(act: Callable[[], T]) -> T:
    """Call it in a thread that has mounts of its own; return what it returns."""

    def run() -> T:
        _mount_read_only()
        return act()

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(run).result()


def _mount_read_only() -> None:
    _succeed(_libc.unshare(CLONE_FS | CLONE_NEWNS))
    _succeed(_libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    _succeed(_libc.mount(SYSCTLS, SYSCTLS, None, MS_BIND, None))
    _succeed(_libc.mount(None, SYSCTLS, None, MS_REMOUNT | MS_BIND | MS_RDONLY, None))


def _succeed(status: int) -> None:
    if status:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
