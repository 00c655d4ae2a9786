"""Run something where /proc/sys cannot be written, as in many containers."""

import ctypes
import os
import threading
from collections.abc import Callable
from typing import TypeVar

CLONE_FS, CLONE_NEWNS = 0x200, 0x20000  # linux/sched.h
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18  # linux/mount.h
SYSCTLS = b"/proc/sys"

T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)


def with_read_only_sysctls(act: Callable[[], T]) -> T:
    """Call it in a thread that has mounts of its own; return what it returns."""
    found: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            _mount_read_only()
            found.append(act())
        except BaseException as e:
            failed.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    for error in failed:
        raise error
    return found[0]


def _mount_read_only() -> None:
    _succeed(_libc.unshare(CLONE_FS | CLONE_NEWNS))
    _succeed(_libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    _succeed(_libc.mount(SYSCTLS, SYSCTLS, None, MS_BIND, None))
    _succeed(_libc.mount(None, SYSCTLS, None, MS_REMOUNT | MS_BIND | MS_RDONLY, None))


def _succeed(status: int) -> None:
    if status:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
