"""Of each network namespace, the daemons that it has, as commands find them: sockets below /run.

A command sends a word. CHANGED, and LOADING before prefixes by the thousand, are for the daemon
that watches: they have no answer, and cost the same whether it runs or not. STATUS is answered by
an object of JSON.

These sockets are root's. One more is for the members of a group, who read by it without root.
"""

import _socket as socket
import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from vipctl.errors import Missing, Refused
from vipctl.files import Where
from vipctl.state.directory import cookie, cure, open_lock

DIRECTORY = "/run/vipctl"
CHANGED, LOADING, STATUS = b"changed", b"loading", b"status"
WATCH, SYNC = "watch", "sync"  # the commands that are daemons
GROUP = "vipctl"  # whose members read without root
QUEUE = 100  # of them that wait to be answered
PATIENCE = 2.0  # seconds that an answer may take
LARGEST = 1 << 16  # bytes of an answer
NOBODY = (errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED)

Link = socket.socket
Answer = dict[str, Any]


@contextmanager
def serving(daemon: str = WATCH) -> Iterator[Link]:
    """The daemon's end. Raises Refused if this network namespace has such a daemon already."""
    prepare()
    path, lock = _path(daemon, "socket"), open_lock(_path(daemon, "lock"))
    try:
        _be_alone(daemon, lock)
        with suppress(FileNotFoundError):  # of one that was killed
            os.unlink(path)
        with closing(_datagrams()) as link:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            _bind(link, path)
            yield link
        os.unlink(path)
    finally:
        os.close(lock)


def offer(group: int) -> Link:
    """The daemon's end of the socket for members of a group. Raises OSError."""
    path = members()
    with suppress(FileNotFoundError):  # of one that was killed
        os.unlink(path)
    kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    link = socket.socket(socket.AF_UNIX, kind)
    try:
        _bind(link, path)
        os.chown(path, -1, group)
        os.chmod(path, 0o660)
        link.listen(QUEUE)
    except OSError:
        link.close()
        raise
    return link


def let_pass() -> None:
    """Who knows a socket's name reaches it, if its own mode allows that; nobody sees the names."""
    os.chmod(DIRECTORY, stat.S_IMODE(os.stat(DIRECTORY).st_mode) | 0o011)  # noqa: S103


def members() -> str:
    """Where the members of the group find the daemon of this network namespace."""
    return _path(GROUP, "socket")


@contextmanager
def alone(command: str) -> Iterator[None]:
    """For what no two commands may do at once. Raises Refused while another does."""
    prepare()
    lock = open_lock(_path(command, "lock"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as e:
        whose = f"fuser -v {_path(command, 'lock')}"
        raise Refused(f"another vipctl {command} is at work", hint=f"who it is: {whose}") from e
    finally:
        os.close(lock)


def tell(word: bytes) -> None:
    """Tells the daemon, if there is one, what a command does."""
    with suppress(OSError), closing(_datagrams()) as link:
        link.sendto(word, socket.MSG_DONTWAIT, _path(WATCH, "socket"))


def ask(daemon: str = WATCH) -> Answer | None:
    """What a daemon says of itself; {} if it does not answer, None if there is none."""
    try:
        with closing(_datagrams()) as link:
            link.bind(b"")  # some address, for the answer
            link.connect(_path(daemon, "socket"))  # others than it cannot answer
            link.settimeout(PATIENCE)
            link.send(STATUS)
            found: Answer = json.loads(link.recv(LARGEST))
            return found
    except OSError as e:
        return None if e.errno in NOBODY else {}


def about(daemon: str, state_dir: Where) -> Answer | None:
    """A daemon of this network namespace, `ours` if it goes by this state; None without one."""
    found = ask(daemon)
    if not found:
        return None if found is None else {"answers": False}
    ours = found["state_dir"] == os.path.realpath(state_dir)
    return {"answers": True, "ours": ours} | found


def _be_alone(daemon: str, lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        known = ask(daemon)
        whose = f", for {known['state_dir']} (process {known['pid']})" if known else ""
        raise Refused(
            f"vipctl {daemon} runs already in this network namespace{whose}",
            hint=f"one is enough; it goes on. Who it is: fuser -v {_path(daemon, 'lock')}",
        ) from e


def _path(daemon: str, kind: str) -> str:
    return f"{DIRECTORY}/{cookie()}.{daemon}.{kind}"


def _bind(link: Link, path: str) -> None:
    """For root alone, whatever the umask is."""
    os.fchmod(link.fileno(), 0o600)
    link.bind(path)


def _datagrams() -> Link:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)


def prepare() -> None:
    """Creates the directory. Raises Missing, or Refused if others may write there."""
    try:
        os.makedirs(DIRECTORY, mode=0o700, exist_ok=True)
        info = os.stat(DIRECTORY)
    except OSError as e:
        raise Missing(f"cannot use {DIRECTORY}: {e.strerror}", hint=cure(e)) from e
    if info.st_uid not in (0, os.geteuid()) or stat.S_IMODE(info.st_mode) & 0o022:
        raise Refused(
            f"{DIRECTORY} can be written by others than root",
            hint=f"chown root: {DIRECTORY} && chmod 0700 {DIRECTORY}",
        )
