"""What the daemon starts for each command of a member: it runs that as root, and prints there."""

import gc
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from socket import MSG_CTRUNC, MSG_TRUNC, recv_fds, socket
from threading import Thread
from typing import NoReturn

import click

from vipctl.cli import output
from vipctl.cli.base import Gate
from vipctl.cli.members.reading import (
    ENVIRONMENT,
    LARGEST,
    LIMIT,
    OUTPUTS,
    is_given,
    refuse_others,
)
from vipctl.errors import Missing
from vipctl.state.runtime import GROUP

PATIENCE = 2.0  # seconds until what is asked is there


def program(state_dir: str) -> list[str]:
    """The command line that answers, of this very installation."""
    path = f"import sys; sys.path[:] = {sys.path!r}"
    return [sys.executable, "-c", f"{path}; from {__name__} import answer; answer({state_dir!r})"]


def answer(state_dir: str) -> NoReturn:
    """What is asked by the socket that is standard input."""
    from vipctl.cli import run

    signal.alarm(LIMIT)  # ends the process
    gc.disable()
    link = socket(fileno=os.dup(0))
    try:
        words = _received(link)
    except Exception:  # whatever is sent by who is no vipctl
        os._exit(1)
    Thread(target=_end_with, args=(link,), daemon=True).start()
    output.prepare()
    code = run(words, gate=_gate(state_dir))
    output.finish()
    with suppress(OSError):
        link.send(bytes([code]))
    os._exit(0)


def _received(link: socket) -> list[str]:
    """The words; what is printed goes to the member from now on."""
    link.settimeout(PATIENCE)
    request, files, flags, _ = recv_fds(link, LARGEST, len(OUTPUTS))
    link.settimeout(None)
    if flags & (MSG_TRUNC | MSG_CTRUNC):
        raise ValueError("it is too long")
    form = json.loads(request)
    _print_to(files, form["encodings"])
    _print_as(form["environment"])
    return [str(word) for word in form["words"]]


def _print_to(files: Sequence[int], encodings: Sequence[str]) -> None:
    if not all(map(is_given, files)):
        raise ValueError("root prints to terminals and pipes alone")
    for own, file in zip((0, *OUTPUTS), (os.open(os.devnull, os.O_RDONLY), *files), strict=True):
        os.dup2(file, own)
    sys.stdout, sys.stderr = (
        os.fdopen(own, "w", encoding=encoding, closefd=False)
        for own, encoding in zip(OUTPUTS, encodings, strict=True)
    )


def _print_as(environment: Mapping[str, str]) -> None:
    for name in ENVIRONMENT:
        os.environ.pop(name, None)
        if name in environment:
            os.environ[name] = environment[name]


def _end_with(link: socket) -> None:
    """When the member waits no longer."""
    link.recv(1)
    os._exit(1)


def _gate(state_dir: str) -> Gate:
    """Lets pass what may be read of this state."""

    def gate(context: click.Context) -> None:
        refuse_others(context)
        asked = context.obj.state_dir
        if asked not in (state_dir, os.path.realpath(state_dir)):
            raise Missing(
                f"vipctl watch reads {state_dir} for the group {GROUP}, and not {asked}",
                hint="use sudo, or another --state-dir",
            )

    return gate
