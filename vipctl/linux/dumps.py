"""Dumps over netlink: all entries of a kind, although others change them meanwhile."""

import errno
import select
import sys
from collections.abc import Callable, Iterable, Iterator

from vipctl.errors import KernelError
from vipctl.linux.netlink import (
    BUFFER,
    ENDS,
    HEADER,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    TRIES,
    Link,
    error_number,
    headers,
    pack,
    receive,
    refusal,
)

ALL = sys.maxsize
READINGS = 20  # that are enough to see all that stays; of 300, 26 missed something

# With these a dump may end if there is nothing; the second is for IPv6 in a kernel without it.
ABSENT = (errno.ENOENT, errno.EAFNOSUPPORT)


class Large(Exception):
    """There is more than is wanted; the socket, on which the rest may come, is of no more use."""


def dump(link: Link, kind: int, request: bytes, most: int = ALL) -> Iterator[bytes]:
    """The content of each message; nothing if what is asked for does not exist.

    Where something was changed meanwhile, entries may be missing, and the kernel is asked again.
    Raises KernelError, or Large where there are more than `most`.
    """
    for _ in range(TRIES):
        found, whole = once(link, kind, request, most)
        if whole:
            return found
    raise KernelError("netlink: what is read changes all the time", hint="try again")


def once(link: Link, kind: int, request: bytes, most: int = ALL) -> tuple[Iterator[bytes], bool]:
    """The content of each message, and whether nothing was changed meanwhile.

    The kernel continues a dump by counting entries: if some are deleted between two parts, it skips
    as many that are still there. Raises KernelError, or Large where there are more than `most`; the
    kernel reads little more than those.
    """
    link.sendall(pack(kind, NLM_F_DUMP, request))
    buffers, flags, failure = _gathered(link, most)
    if failure in ABSENT:
        return iter(()), True
    if failure:
        raise refusal("netlink", failure, "try again")
    found = (content for buffer in buffers for content in _contents(buffer))
    return found, not flags & NLM_F_DUMP_INTR


def staying(read: Callable[[], tuple[Iterable[bytes], bool]]) -> Iterable[bytes]:
    """All entries that are there the whole time.

    `read` returns entries and whether these are complete, as far as the kernel has told. It tells
    of a change a moment after making it, so two readings in a row have to agree. If others change
    entries all the time, the result is all that was seen, also what came or went meanwhile.
    """
    seen: dict[bytes, None] = {}
    before: list[bytes] | None = None
    for _ in range(READINGS):
        entries, whole = read()
        found = list(entries)
        if whole and found == before:
            return found
        before = found if whole else None
        seen |= dict.fromkeys(found)
    return seen


def heard(link: Link) -> bool:
    """Whether the kernel has announced anything on this socket, or its buffer has overflowed."""
    return bool(select.select([link], [], [], 0)[0])


def _gathered(link: Link, most: int) -> tuple[list[bytes], int, int]:
    """The answers to a dump as they came, their flags, and the errno that they ended with."""
    buffers, all_flags, number = list[bytes](), 0, 0
    while number <= most:
        buffer = link.recv(BUFFER)
        buffers.append(buffer)
        for at, _, kind, flags, _ in headers(buffer):
            all_flags |= flags
            if kind in ENDS and number <= most:
                return buffers, all_flags, error_number(buffer, at + HEADER.size)
            number += 1
    raise Large


def _contents(buffer: bytes) -> Iterator[bytes]:
    for at, size, kind, _, _ in headers(buffer):
        if kind not in ENDS:
            yield buffer[at + HEADER.size : at + size]


def beginning(link: Link, kind: int, request: bytes) -> Iterator[bytes]:
    """As `dump`, but lazily: for callers that stop early, after which the link is useless."""
    link.sendall(pack(kind, NLM_F_DUMP, request))
    while True:
        for answer in receive(link):
            if answer.failure() not in (0, *ABSENT):
                raise refusal("netlink", answer.failure(), "try again")
            if answer.kind in ENDS:
                return
            yield answer.content
