"""Printing, which may fail: on a full disk, a closed pipe, an old locale."""

import codecs
import errno
import os
import sys
from contextlib import suppress
from typing import Any

import click

from vipctl.errors import VipctlError

PLAIN = {"…": "...", "→": "->", "✓": "ok", "✗": "NO"}  # of what vipctl itself prints
COMMANDS = ("→", "$")  # begin what people copy


class Unprinted(VipctlError):
    """Standard output cannot be written; `closed` if it is a pipe without a reader."""

    def __init__(self, cause: OSError | ValueError) -> None:
        self.closed = isinstance(cause, OSError) and cause.errno == errno.EPIPE
        words = cause.strerror if isinstance(cause, OSError) else str(cause)
        super().__init__(f"cannot print: {words}", hint="see where standard output leads")


def prepare() -> None:
    """Has the output streams replace characters that they cannot encode."""
    codecs.register_error("vipctl", _plainly)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="vipctl")  # type: ignore[union-attr]


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    escaped = (PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in found)
    return "".join(escaped), error.end


def finish() -> None:
    """Flushes the output; discards what cannot be printed, or Python would try once more."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def say(text: str, *, nl: bool = True) -> None:
    """Prints on standard output. Raises Unprinted."""
    try:
        click.echo(text.replace("\x7f", "\\u007f"), nl=nl)  # JSON leaves DEL as it is
    except (OSError, ValueError) as e:
        raise Unprinted(e) from e


def is_of_printing(error: BaseException) -> bool:
    """Whether the error comes from printing by click itself, as for --help."""
    from traceback import walk_tb

    return any(frame.f_code is click.echo.__code__ for frame, _ in walk_tb(error.__traceback__))


def tell(text: str, *, nl: bool = True) -> bool:
    """Prints on standard error; returns whether that was possible."""
    try:
        click.echo(text, nl=nl, err=True)
    except (OSError, ValueError):
        return False
    return sys.stderr is not None


def trace(text: str) -> None:
    """A line of -v, or several."""
    tell(printable_lines(text))


def watched() -> bool:
    """Whether standard error is a terminal on which a line can be written over."""
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    return on_terminal and os.environ.get("TERM") != "dumb"


def width() -> int | None:
    """How many columns the terminal has that standard output is; None if it is none."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except OSError:
        return None


def fitted(text: str) -> str:
    """Lines that are too long for the terminal go on below, indented. Commands stay whole."""
    room = width()
    if room is None:
        return text
    return "\n".join(_broken(line, room) for line in text.split("\n"))


def _broken(line: str, room: int) -> str:
    if len(click.unstyle(line)) <= room or line.lstrip().startswith(COMMANDS):
        return line
    from textwrap import fill

    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return fill(
        line, room, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def styled(text: str, **how: Any) -> str:
    """In colour, unless NO_COLOR is set (https://no-color.org), or the terminal has none."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else click.style(text, **how)


def warn(text: str) -> None:
    tell(styled("warning: ", fg="yellow") + printable(text))


def printable(text: str) -> str:
    """The text with escapes for control characters and others that a terminal does not show."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.expandtabs(4).split("\n"))
