"""RANGE words of the command line, with @FILE and - (stdin), to one set of addresses."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from vipctl.errors import UsageError, VipctlError
from vipctl.prefixes import AddressSet, Span, from_spans, parse_range

EACH = 50_000  # lines between signs of life
MAX_LINE = 256  # bytes; the longest range, two full IPv6 addresses, has 79


def read(words: Iterable[str], notify: Callable[[str], None] = lambda _: None) -> AddressSet:
    """Raises UsageError or Refused naming the word, or file and line, that is wrong."""
    wanted = from_spans(span for word in words for span in _spans(word, notify))
    if not wanted:
        raise UsageError("there is no range in what was given", hint="name at least one")
    return wanted


def _spans(word: str, notify: Callable[[str], None]) -> Iterator[tuple[int, Span]]:
    if word == "-":
        yield from _input(notify)
    elif word.startswith("@"):
        yield from _file(word[1:], notify)
    else:
        yield parse_range(word)


def _input(notify: Callable[[str], None]) -> Iterator[tuple[int, Span]]:
    try:
        yield from _lines("standard input", sys.stdin.buffer, notify)
    except (OSError, AttributeError) as e:  # Python has no sys.stdin where descriptor 0 is closed
        raise UsageError(f"cannot read standard input: {e}", hint="give it one range a line") from e


def _file(name: str, notify: Callable[[str], None]) -> Iterator[tuple[int, Span]]:
    try:
        with open(name, "rb") as file:  # noqa: PTH123 - a pipe such as /dev/fd/63 will do
            yield from _lines(name, file, notify)
    except OSError as e:
        raise UsageError(
            f"cannot read {name}: {e.strerror}", hint="@FILE names a file with one range a line"
        ) from e


def _lines(name: str, file: BinaryIO, notify: Callable[[str], None]) -> Iterator[tuple[int, Span]]:
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        if number % EACH == 0:
            notify(f"{name}: {number:,} lines read")
        text = _text(name, number, line)
        while len(line) == MAX_LINE and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE)  # the rest of a comment
        if text:
            try:
                yield parse_range(text)
            except VipctlError as e:
                raise type(e)(f"{name}:{number}: {e.message}", hint=e.hint) from e


def _text(name: str, number: int, line: bytes) -> str:
    if len(line) == MAX_LINE and not line.endswith(b"\n") and b"#" not in line:
        raise UsageError(f"{name}:{number}: no range is that long", hint="one range a line")
    try:
        return line.decode("ascii").partition("#")[0].strip()
    except UnicodeDecodeError as e:
        if b"#" in line and line.index(b"#") <= e.start:
            return line[: line.index(b"#")].decode("ascii").strip()
        raise UsageError(
            f"{name}:{number}: not a text of ranges", hint="one range a line, # starts a comment"
        ) from e
