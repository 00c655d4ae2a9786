"""Compiles the text of rules with libnftables, which is used here only, in an empty namespace.

libnftables reads all sets of all tables before it does anything. In the director's own namespace
that takes seconds if others have many rules, and 1.0.6 crashes on a set that a newer nft wrote. So
a thread enters a new, empty network namespace and runs the commands there; what the kernel made of
them is read back. The namespace ends with the thread. Other threads never leave their own.

A thread copies nothing of a process that holds a million VIPs. It takes 7 to 25 ms, however large
the process is; a forked process took 30 ms, and 70 to 120 ms beside 400 MB (nine chains, two
cores).

Where no namespace can be made (a container without CAP_SYS_ADMIN), the commands run in the
director's own, on a table that is dormant and deleted at once.
"""

import ctypes
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from vipctl import log
from vipctl.errors import KernelError, Missing

CLONE_NEWNET = 0x40000000  # include/uapi/linux/sched.h
LOGGED = 4000  # characters that -v shows
T = TypeVar("T")


def check() -> None:
    """Raises Missing where there is no libnftables."""
    _library()


def carried_out(commands: str, look: Callable[[], T], afterwards: str) -> T:
    """Runs nft `commands` in an empty namespace and returns what `look` finds there.

    `afterwards` are commands that remove all of it, for where the namespace is the director's own.
    Raises KernelError with nft's words, or Missing.
    """
    log.debug("nft: %s%s", commands[:LOGGED], " …" if len(commands) > LOGGED else "")
    found: list[T] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            found.append(_done(commands, look, "" if _left() else afterwards))
        except BaseException as e:
            failures.append(e)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    for failure in failures:
        raise failure
    return found[0]


def _left() -> bool:
    """Moves the calling thread to a new network namespace; False if that is not permitted."""
    return bool(ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0)


def _done(commands: str, look: Callable[[], T], afterwards: str) -> T:
    library = _library()
    _run(library, commands)
    try:
        return look()
    finally:
        if afterwards:
            _run(library, afterwards)


def _run(library: Any, commands: str) -> None:
    code, _, error = library.cmd(commands)
    if code:
        raise _said(error)


def _library() -> Any:
    try:
        import nftables

        return nftables.Nftables()
    except (ImportError, OSError) as e:
        raise Missing(
            f"libnftables cannot be used: {e}",
            hint="apt install libnftables1 python3-nftables",
        ) from e


def _said(error: str) -> KernelError | Missing:
    line = next((text for text in error.splitlines() if text.strip()), "no reason given")
    reason = line[:300].removeprefix("Error: ")
    if "Operation not permitted" in reason:
        return Missing("nftables: no permission", hint="run as root (CAP_NET_ADMIN)")
    return KernelError(f"nftables: {reason}", hint="see what is there: nft list ruleset")
