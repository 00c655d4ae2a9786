"""The state directory: root's own, of one network namespace, used by one command at a time."""

import _socket as socket  # imported faster: `socket` makes enumerations of its constants
import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from vipctl import files
from vipctl.errors import Missing, Refused, VipctlError
from vipctl.files import Where

LOCK_TIMEOUT = 60.0  # seconds
LOCK_NOTICE = 1.0  # seconds until a waiting command says so
SMALL = 1 << 16  # bytes: sqlite writes so much beside a database
SO_NETNS_COOKIE = 71  # include/uapi/asm-generic/socket.h


MEANWHILE = "; meanwhile the kernel keeps its VIPs, and commands that only read work"
CURES = {
    errno.EROFS: f"mount it writable again, dmesg may say why it is not{MEANWHILE}",
    errno.ENOSPC: f"make room there: df -h, df -i{MEANWHILE}",
    errno.EDQUOT: f"make room there, or raise the quota{MEANWHILE}",
    errno.EFBIG: f"raise the limit of a file's size: ulimit -f, LimitFSIZE= of a unit{MEANWHILE}",
    errno.EIO: f"the disk may be failing, see dmesg{MEANWHILE}",
    errno.EACCES: "run as root; if you do, see lsattr, and dmesg for AppArmor or SELinux",
    errno.ENOTDIR: "name another with --state-dir",
    errno.ELOOP: "a symbolic link is in its place: remove the link",
}
CURES[errno.EPERM] = CURES[errno.EACCES]


def cure(error: OSError) -> str:
    """The hint for an error of the file system."""
    return CURES.get(error.errno or 0, "see whether it exists and who owns it: ls -la")


def trouble(directory: Where) -> OSError | None:
    """The error that writing there meets, if any: sqlite does not tell it."""
    from tempfile import TemporaryFile

    try:
        largest = max((entry.stat().st_size for entry in os.scandir(directory)), default=0)
        with TemporaryFile(dir=directory) as file:
            file.seek(largest)
            file.write(bytes(SMALL))
            file.flush()
    except OSError as e:
        return e
    return None


def identity() -> str:
    """Names this boot and this network namespace, whose cookie is unique within the boot."""
    boot = files.text("/proc/sys/kernel/random/boot_id").strip()
    return f"{boot}/{cookie()}"


def cookie() -> int:
    """Of this network namespace."""
    with closing(socket.socket()) as s:
        return int.from_bytes(s.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), "little")


@contextmanager
def lock(
    directory: Where, *, timeout: float = LOCK_TIMEOUT, waiting: Callable[[], None] | None = None
) -> Iterator[None]:
    """Holds the state directory for one changing command. Raises Refused after `timeout` s."""
    prepare(directory)
    fd = open_lock(f"{directory}/lock")
    try:
        _acquire(fd, f"{directory}/lock", timeout, waiting)
        yield
    finally:
        os.close(fd)


@contextmanager
def weighing(directory: Where) -> Iterator[None]:
    """Holds the weights of real servers, in IPVS and as health checks leave them, for a moment.

    A command may hold the state for a minute, while a failed real server must not get clients.
    Without a directory, taken away under a command that undoes its change, nobody else can hold
    them. Raises Refused after LOCK_TIMEOUT.
    """
    if not files.exists(directory):
        yield
        return
    fd = open_lock(f"{directory}/weights.lock")
    try:
        _acquire(fd, f"{directory}/weights.lock", LOCK_TIMEOUT, None)
        yield
    finally:
        os.close(fd)


def open_lock(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise VipctlError(f"cannot open the lock {path}: {e.strerror}", hint=cure(e)) from e


def _acquire(fd: int, path: str, timeout: float, waiting: Callable[[], None] | None) -> None:
    start = time.monotonic()
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = time.monotonic() - start
        if waited > timeout:
            raise Refused(
                f"another vipctl command has held {os.path.dirname(path)} for {timeout:.0f} s",
                hint=f"see who: fuser -v {path}",
            )
        if waiting is not None and waited > LOCK_NOTICE:
            waiting()
            waiting = None
        time.sleep(0.02)


def prepare(directory: Where) -> None:
    """Creates the directory if it is absent.

    Raises Missing if that fails, Refused if others than root may write there.
    """
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        info = os.stat(directory)
    except FileExistsError as e:
        raise Missing(
            f"cannot use the state directory {directory}: it is a file",
            hint=CURES[errno.ENOTDIR],
        ) from e
    except OSError as e:
        raise Missing(
            f"cannot use the state directory {directory}: {e.strerror}",
            hint=cure(e),
        ) from e
    if info.st_uid not in (0, os.geteuid()) or stat.S_IMODE(info.st_mode) & 0o022:
        ours = files.exists(f"{directory}/state.db")  # if not, as /tmp: no chmod, others use it
        raise Refused(
            f"the state directory {directory} can be written by others than root",
            hint=f"chown root: {directory} && chmod 0700 {directory}"
            if ours
            else "name one with --state-dir that is root's alone, or is not there yet",
        )
