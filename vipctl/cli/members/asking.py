"""A command of somebody who is not root: the daemon has it run, if it cannot read the state."""

import grp
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from socket import AF_UNIX, SO_SNDTIMEO, SOCK_SEQPACKET, SOL_SOCKET, send_fds, socket
from struct import pack
from threading import Thread

import click

from vipctl.cli.members.reading import (
    ENVIRONMENT,
    LARGEST,
    LIMIT,
    OUTPUTS,
    READING,
    STDERR,
    STDOUT,
    is_given,
    refuse_others,
)
from vipctl.cli.output import Unprinted
from vipctl.errors import Missing, UsageError
from vipctl.state import runtime
from vipctl.state.runtime import GROUP

PARTLY = ("doctor", "metrics")  # without the daemon they look at what they may, and say so
PATIENCE = 2.0  # seconds in which the last is copied of what was printed
PIECE = 1 << 16  # bytes


def gate(context: click.Context) -> int | None:
    """The exit code of the daemon's command; None where this one is to run as it can."""
    settings, name = context.obj, str(context.info_name)
    if name not in READING or _may_read(settings.state_dir):
        return None
    _open_outputs()
    link = _connected(name, settings.state_dir)
    if link is None:
        return None
    with link:
        refuse_others(context)
        return _asked(link, settings.audit.words)


def _may_read(state_dir: str) -> bool:
    """Also where there is none."""
    try:
        os.close(os.open(f"{state_dir}/state.db", os.O_RDONLY | os.O_CLOEXEC))
    except PermissionError:
        return False
    except OSError:
        return True
    return True


def _open_outputs() -> None:
    """Those that are closed: else another file would be taken for them."""
    while (file := os.open(os.devnull, os.O_RDWR)) <= max(OUTPUTS):
        pass
    os.close(file)


def _connected(name: str, state_dir: str) -> socket | None:
    """Raises Missing where that is the only way; None where the command does without."""
    link = socket(AF_UNIX, SOCK_SEQPACKET)
    link.setsockopt(SOL_SOCKET, SO_SNDTIMEO, pack("ll", LIMIT, 0))
    try:
        link.connect(runtime.members())
    except OSError as e:
        link.close()
        if name in PARTLY or not _is_member():
            return None
        raise Missing(
            f"the state in {state_dir} is root's, and in this network namespace no vipctl watch "
            f"reads it for the group {GROUP}: {e.strerror}",
            hint="systemctl start vipctl, or systemctl reload vipctl if the group is newer than "
            "the daemon; or use sudo",
        ) from e
    return link


def _is_member() -> bool:
    try:
        return grp.getgrnam(GROUP).gr_gid in {os.getegid(), *os.getgroups()}
    except KeyError:
        return False


def _asked(link: socket, words: Sequence[str]) -> int:
    """The command has printed where this one would."""
    request, copies = _request(words), _copies()
    code = b""
    with suppress(OSError):
        _send(link, request, copies)
        link.settimeout(2 * LIMIT)  # it may wait for others
        code = link.recv(1)
    for copy in set(copies.values()):
        copy.join(None if code else PATIENCE)
    if STDOUT in copies and (failed := copies[STDOUT].failed):
        raise Unprinted(failed)
    if not code:
        raise Missing(
            f"vipctl watch ended the command, which may take {LIMIT} s, or has ended itself",
            hint="run it again; or use sudo",
        )
    return code[0]


def _request(words: Sequence[str]) -> bytes:
    form = {
        "words": words,
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        "encodings": [getattr(one, "encoding", "utf-8") for one in (sys.stdout, sys.stderr)],
    }
    request = json.dumps(form).encode()
    if len(request) > LARGEST:
        said = f"without root, the arguments may have {LARGEST >> 10} KiB"
        raise UsageError(said, hint="ask in several parts, or use sudo")
    return request


def _send(link: socket, request: bytes, copies: "dict[int, Copy]") -> None:
    files = [copies[own].given if own in copies else own for own in OUTPUTS]
    try:
        send_fds(link, [request], files)
    finally:
        for copy in set(copies.values()):
            os.close(copy.given)
            copy.start()


class Copy(Thread):
    """Takes what is printed from a pipe to where the command is not let print itself."""

    def __init__(self, target: int) -> None:
        super().__init__(daemon=True)
        self._target, (self._source, self.given) = target, os.pipe()
        self.failed: OSError | None = None

    def run(self) -> None:
        try:
            while piece := os.read(self._source, PIECE):
                while piece:
                    piece = piece[os.write(self._target, piece) :]
        except OSError as e:
            self.failed = e
        os.close(self._source)  # the command sees that nobody reads


def _copies() -> dict[int, Copy]:
    """By output. What is one file for both stays one, and in order."""
    found = {own: Copy(own) for own in OUTPUTS if not is_given(own)}
    if len(found) == len(OUTPUTS) and os.path.sameopenfile(*OUTPUTS):
        found[STDERR] = found[STDOUT]
    return found
