"""Check exec: a program ends with status 0.

It runs as `nobody` in a process group of its own, which is killed as soon as the program has ended
or its time is over. It has no arguments; its environment has RIP, PORT, and VIP if there is one.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from vipctl.probing.asking import Asking, Failed, Unasked
from vipctl.services.checks import Target

NOBODY = 65534  # of Debian and most others; its group too
MOST_PRINTED, MOST_SAID = 64 << 10, 200
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KILLED = 0.1  # seconds that a killed process has for its end; later it is collected all the same


async def ask(asking: Asking) -> str:
    program = asking.check.what
    asking.stage = f"{program} does not end"
    with _running(program, _environment(asking.target)) as process:
        said = await _printed(process)
    status = process.returncode
    said = f": {said}" if said else ""
    if status == 0:
        return f"{program} is content{said}"
    how = f"ends with status {status}" if status > 0 else f"is killed by signal {-status}"
    raise Failed(f"{program} {how}{said}")


def _environment(target: Target) -> dict[str, str]:
    real = target.real or target.address
    found = {"PATH": PATH, "LANG": "C.UTF-8", "RIP": str(real), "PORT": str(target.port or "")}
    return found if real == target.address else {**found, "VIP": str(target.address)}


@contextmanager
def _running(program: str, environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    try:
        process = subprocess.Popen(  # noqa: S603  the operator's own
            [program],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment,
            start_new_session=True,
            user=NOBODY,
            group=NOBODY,
            extra_groups=(),
            umask=0o077,
        )
    except (OSError, subprocess.SubprocessError) as e:
        raise Unasked(f"{program} could not be started: {getattr(e, 'strerror', e)}") from e
    with process.stdout:  # type: ignore[union-attr]
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                process.wait(KILLED)


async def _printed(process: "subprocess.Popen[bytes]") -> str:
    """What the program has printed when it has ended: the first line."""
    loop, found = asyncio.get_running_loop(), bytearray()
    output = process.stdout.fileno()  # type: ignore[union-attr]
    ended: asyncio.Future[None] = loop.create_future()
    handle = os.pidfd_open(process.pid)
    os.set_blocking(output, False)
    try:
        loop.add_reader(handle, _finish, ended)
        loop.add_reader(output, _read, output, found, ended)
        await ended
        _read(output, found, ended)
    finally:
        loop.remove_reader(output)
        loop.remove_reader(handle)
        os.close(handle)
    return _first_line(bytes(found))


def _finish(ended: "asyncio.Future[None]") -> None:
    if not ended.done():
        ended.set_result(None)


def _read(output: int, found: bytearray, ended: "asyncio.Future[None]") -> None:
    """Takes what there is, so that the program need not wait for somebody to read."""
    with suppress(BlockingIOError):
        while len(found) <= MOST_PRINTED:
            piece = os.read(output, MOST_PRINTED)
            if not piece:
                asyncio.get_running_loop().remove_reader(output)
                return
            found += piece
        if not ended.done():
            ended.set_exception(Failed(f"it prints more than {MOST_PRINTED >> 10} KiB"))


def _first_line(printed: bytes) -> str:
    first = printed.decode(errors="replace").strip().split("\n")[0][:MOST_SAID]
    return "".join(letter if letter.isprintable() else " " for letter in first).strip()
