"""Reads RANGE arguments, with @FILE and - (standard input), into one set of addresses.

Files are read in blocks of many lines. A large block of plain addresses and prefixes, the usual
case, is parsed as a whole; any other, or one with an error in it, line by line.
"""

import errno
import os
import select
import stat
import sys
from _socket import inet_pton
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader
from itertools import repeat
from typing import Protocol

from vipctl.addresses.few import BITS, WIDTH, packed
from vipctl.addresses.prefixes import AF, VERSIONS, AddressSet, parse_range, reserved
from vipctl.addresses.spans import NUMPY_FROM, Spans
from vipctl.errors import UsageError, VipctlError

WRITER_COMES = 2000  # milliseconds to wait for a writer of a pipe
BLOCK = 1 << 20  # bytes
LINES = 50_000  # of a list that are read together
MAX_LINE = 256  # bytes; the longest range, two full IPv6 addresses, has 79
LENGTHS = {
    version: {"": bits} | {f"/{length}": length for length in range(bits + 1)}
    for version, bits in BITS.items()
}

Found = tuple[int, bytes]  # IP version and packed spans, in any order


class Readable(Protocol):
    """A file or a pipe; `read1` returns what is there without waiting for more."""

    def read1(self, size: int, /) -> bytes: ...


def read(words: Iterable[str], notify: Callable[[str], None] = lambda _: None) -> AddressSet:
    """The set of all ranges. Raises UsageError or Refused naming the word, or file and line."""
    found: dict[int, list[bytes]] = {version: [] for version in VERSIONS}
    for word in words:
        for version, data in _spans(word, notify):
            found[version].append(data)
    wanted = _union(found)
    if not wanted:
        raise UsageError("there is no range in what was given", hint="name at least one")
    return wanted


def collect(texts: Iterable[str], wrong: Callable[[int, VipctlError], None]) -> AddressSet:
    """Ranges and @FILEs of a list; `wrong` is told of each that is not one, and its position."""
    found: dict[int, list[bytes]] = {version: [] for version in VERSIONS}
    words = list(texts)
    for at in range(0, len(words), LINES):
        part = words[at : at + LINES]
        plain = _plain("\n".join(part).encode()) if len(part) > NUMPY_FROM else None
        for version, data in [plain] if plain else _each(at, part, wrong):
            found[version].append(data)
    return _union(found)


def _each(
    first: int, words: list[str], wrong: Callable[[int, VipctlError], None]
) -> Iterator[Found]:
    for at, word in enumerate(words, first):
        try:
            yield from _file(word[1:], lambda _: None) if word.startswith("@") else [_range(word)]
        except VipctlError as e:
            wrong(at, e)


def _union(found: dict[int, list[bytes]]) -> AddressSet:
    return AddressSet(*(Spans.of(version, b"".join(parts)) for version, parts in found.items()))


def _spans(word: str, notify: Callable[[str], None]) -> Iterator[Found]:
    if word == "-":
        yield from _input(notify)
    elif word.startswith("@"):
        yield from _file(word[1:], notify)
    else:
        yield _range(word)


def _range(text: str) -> Found:
    version, span = parse_range(text)
    return version, packed(version, [span])


def _input(notify: Callable[[str], None]) -> Iterator[Found]:
    try:
        yield from _blocks("standard input", sys.stdin.buffer, notify)  # type: ignore[arg-type]
    except (OSError, AttributeError) as e:  # Python has no sys.stdin where descriptor 0 is closed
        raise UsageError(f"cannot read standard input: {e}", hint="give it one range a line") from e


def _file(name: str, notify: Callable[[str], None]) -> Iterator[Found]:
    try:
        with readable(name) as file:
            yield from _blocks(name, file, notify)
    except OSError as e:
        raise UsageError(
            f"cannot read {name}: {e.strerror}", hint="@FILE names a file with one range a line"
        ) from e


def readable(name: str) -> BufferedReader:
    """Opens a file, or a pipe such as /dev/fd/63 that has, had, or soon gets a writer.

    Raises OSError, for a pipe also if nobody writes to it within WRITER_COMES.
    """
    if "\0" in name:
        raise OSError(errno.EINVAL, "no file name has a NUL in it")
    file = open(name, "rb", opener=_without_waiting)  # noqa: SIM115 - the caller's
    os.set_blocking(file.fileno(), True)
    if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode) and not _is_written(file):
        file.close()
        raise OSError(errno.ENODATA, "a pipe that nobody writes to")
    return file


def _is_written(pipe: BufferedReader) -> bool:
    """Whether anything comes from a pipe; if it has a writer, waits for data without limit."""
    coming = select.poll()
    coming.register(pipe, select.POLLIN)
    coming.poll(WRITER_COMES)
    return bool(pipe.peek(1))


def _without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)


def _blocks(name: str, file: Readable, notify: Callable[[str], None]) -> Iterator[Found]:
    number, rest = 1, b""
    while more := file.read1(BLOCK):
        block, newline, rest = (rest + more).rpartition(b"\n")
        if newline:
            yield from _block(name, number, block)
            number += block.count(b"\n") + 1
            notify(f"{name}: {number - 1:,} lines read")
        rest = _bounded(name, number, rest)
    yield from _block(name, number, rest)


def _bounded(name: str, number: int, rest: bytes) -> bytes:
    """The beginning of an unfinished line. Raises UsageError if it is too long, and no comment."""
    if len(rest) > MAX_LINE:
        _text(name, number, rest)
    return rest[:MAX_LINE]


def _block(name: str, number: int, block: bytes) -> Iterator[Found]:
    if block.count(b"\n") > NUMPY_FROM and (found := _plain(block)) is not None:
        yield found
        return
    for at, line in enumerate(block.split(b"\n"), number):
        if text := _text(name, at, line):
            try:
                yield _range(text)
            except VipctlError as e:
                raise type(e)(f"{name}:{at}: {e.message}", hint=e.hint) from e


def _plain(block: bytes) -> Found | None:
    """The spans of a block of plain addresses and prefixes of one IP version; None for others."""
    from vipctl.addresses import bulk

    version = 6 if b":" in block[:MAX_LINE] else 4
    try:
        heads, lengths = _parted(version, block.decode("ascii"))
        addresses = b"".join(map(inet_pton, repeat(int(AF[version])), heads))
    except (OSError, ValueError, KeyError):
        return None
    if not heads:
        return None
    data = bulk.ranges(WIDTH[version], addresses, lengths, reserved(version))
    return None if data is None else (version, data)


def _parted(version: int, text: str) -> tuple[list[str], bytes]:
    """The addresses and the packed prefix lengths of the lines. Raises KeyError for others."""
    lines = list(filter(None, text.split("\n")))
    if "/" not in text:
        return lines, bytes([BITS[version]]) * len(lines)
    parts = [line.partition("/") for line in lines]
    lengths = LENGTHS[version]
    return [head for head, _, _ in parts], bytes(lengths[slash + tail] for _, slash, tail in parts)


def _text(name: str, number: int, line: bytes) -> str:
    line, _, _ = line.partition(b"#")
    if len(line) >= MAX_LINE:
        raise UsageError(f"{name}:{number}: no range is that long", hint="one range a line")
    try:
        return line.strip().decode("utf-8")
    except UnicodeDecodeError as e:
        raise UsageError(
            f"{name}:{number}: not a text of ranges",
            hint="save it as UTF-8: one range a line, # starts a comment",
        ) from e
