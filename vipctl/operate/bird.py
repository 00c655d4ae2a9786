"""BIRD, asked as birdc does: has it take what was written for it, and reads what it says to that.

Each line of an answer has a number, which doc/reply_codes of BIRD's source explains, and the last
one a space behind it. birdc's exit status says nothing of all this.
"""

import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

from vipctl.errors import Missing, Refused

PATIENCE = 30.0  # seconds
AGAIN = 0.1  # seconds until it is asked once more
TAKEN = (3, 4, 5)  # reconfigured; that is in progress; it will be, after another one
PROTOCOL = 1002
BUSY = "Reconfiguration in progress"
LONGEST, MOST = 4096, 10_000  # bytes of a line, lines of an answer


class Line(NamedTuple):
    number: int
    text: str


class Taken(NamedTuple):
    """`answer` is BIRD's to `configure`; `busy`: it had not done all of it after a while."""

    answer: str
    busy: bool


def take(text: str, file: Path, control: str, protocols: Iterable[str]) -> Taken:
    """Replaces the file, which makes these protocols, and has BIRD take it.

    If BIRD refuses it, or does not answer, the file is as before. Raises Missing, or Refused.
    """
    with _asking(control) as bird:
        before = read(file)
        _replace(file, text)
        try:
            answer = bird.ask("configure")[-1]
            if answer.number not in TAKEN:
                raise Refused(
                    f"BIRD refuses its configuration: {answer.text}",
                    hint=f"its routes are as before, and so is {file}: see what that line has",
                )
        except BaseException:
            _put_back(file, before)
            raise
        busy = bird.is_busy()
        if absent := sorted(set(protocols) - bird.protocols()):
            raise Refused(
                f"BIRD says {answer.text!r}, but has no protocol {absent[0]}: it does not read "
                f"{file}, which is written",
                hint=f'add to bird.conf, at the start of a line: include "{file}";',
            )
    return Taken(answer.text, busy)


class Control:
    """Its control socket, connected. Raises OSError if it does not answer."""

    def __init__(self, link: socket.socket) -> None:
        self._link, self._file = link, link.makefile("rb")
        self._said()  # its greeting

    def ask(self, command: str) -> list[Line]:
        self._link.sendall(f"{command}\n".encode())
        return self._said()

    def _said(self) -> list[Line]:
        found: list[Line] = []
        while len(found) < MOST:
            line = self._file.readline(LONGEST).decode(errors="replace")
            number = line[:4] if line[:4].isdigit() else ""
            if not (number or (found and line.startswith(" "))):
                raise ConnectionError("it has closed the connection, or is not BIRD")
            found.append(Line(int(number or found[-1].number), line[len(number) + 1 :].strip()))
            if number and line[4:5] == " ":
                break
        return found

    def is_busy(self) -> bool:
        """Whether it is not done with its configuration even after a while."""
        deadline = time.monotonic() + PATIENCE
        while any(line.text == BUSY for line in self.ask("show status")):
            if time.monotonic() > deadline:
                return True
            time.sleep(AGAIN)
        return False

    def protocols(self) -> set[str]:
        """Those of ours that it has."""
        lines = self.ask('show protocols "vipctl*"')
        return {line.text.split()[0] for line in lines if line.number == PROTOCOL and line.text}


@contextmanager
def _asking(path: str) -> Iterator[Control]:
    with closing(socket.socket(socket.AF_UNIX)) as link:
        link.settimeout(PATIENCE)
        try:
            link.connect(path)
            yield Control(link)
        except OSError as e:
            raise Missing(
                f"BIRD does not answer at {path}: {e.strerror or e}",
                hint="start it, or name its socket: --control",
            ) from e


def read(file: Path) -> str | None:
    """None if there is no such file. Raises Missing."""
    try:
        return file.read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as e:
        raise _unusable(file, e) from e


def _replace(file: Path, text: str) -> None:
    """In one step. Raises Missing."""
    try:
        with NamedTemporaryFile("w", dir=file.parent, delete=False) as new:
            try:
                new.write(text)
                new.flush()
                _own_as_before(new.fileno(), file)
                os.fsync(new.fileno())
                Path(new.name).replace(file)
            except BaseException:
                Path(new.name).unlink()
                raise
    except OSError as e:
        raise _unusable(file, e) from e


def _own_as_before(new: int, file: Path) -> None:
    """All can read it, as BIRD is not root."""
    os.fchmod(new, 0o644)
    with suppress(FileNotFoundError):
        before = file.lstat()
        os.fchown(new, before.st_uid, before.st_gid)


def _put_back(file: Path, before: str | None) -> None:
    if before is None:
        file.unlink()
    else:
        _replace(file, before)


def _unusable(file: Path, error: Exception) -> Missing:
    why = error.strerror if isinstance(error, OSError) else error
    return Missing(f"cannot use {file}: {why}", hint="name another, in a directory that is there")
