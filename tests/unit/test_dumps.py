"""Dumps: what the kernel says of them, and what it does not say while others change things."""

import errno
import itertools
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest

from vipctl.errors import KernelError
from vipctl.linux import dumps, netlink
from vipctl.linux.filters import nft
from vipctl.linux.netlink import CODE, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR

KIND = 20


def part(content: bytes, flags: int = 0) -> bytes:
    return netlink.pack(KIND, flags, content)


def done(code: int = 0, flags: int = 0) -> bytes:
    return netlink.pack(NLMSG_DONE, flags, CODE.pack(-code))


def error(code: int) -> bytes:
    return netlink.pack(NLMSG_ERROR, 0, CODE.pack(-code) + bytes(netlink.HEADER.size))


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Ours and the kernel's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(5)
    theirs.settimeout(0.1)
    with ours, theirs:
        yield ours, theirs


def dumped(ends: tuple[socket.socket, socket.socket], *answers: bytes) -> tuple[list[bytes], int]:
    """What is read, and how often it was asked for."""
    ours, theirs = ends
    for answer in answers:
        theirs.send(answer)
    found = list(dumps.dump(ours, KIND, b"four"))
    return found, asked(theirs)


def asked(theirs: socket.socket) -> int:
    times = 0
    try:
        while theirs.recv(100) == netlink.pack(KIND, netlink.NLM_F_DUMP, b"four"):
            times += 1
    except TimeoutError:
        return times
    raise AssertionError("something else was asked")


Ends = tuple[socket.socket, socket.socket]


def test_all_parts(ends: Ends) -> None:
    answers = part(b"1234") + part(b"5678"), part(b"9"), done()
    assert dumped(ends, *answers) == ([b"1234", b"5678", b"9"], 1)
    assert dumped(ends, part(b"1234") + done()) == ([b"1234"], 1)
    assert dumped(ends, done()) == ([], 1)


@pytest.mark.parametrize(
    "interrupted",
    [
        [part(b"1234", NLM_F_DUMP_INTR), part(b"5678") + done()],
        [part(b"1234") + part(b"5678", NLM_F_DUMP_INTR) + part(b"9"), done()],
        [part(b"1234"), done(0, NLM_F_DUMP_INTR)],
    ],
)
def test_an_interrupted_one_is_asked_for_again(ends: Ends, interrupted: list[bytes]) -> None:
    again = [part(b"all of it"), done()]
    assert dumped(ends, *interrupted, *interrupted, *again) == ([b"all of it"], 3)


def test_not_for_ever(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumps, "TRIES", 5)
    with pytest.raises(KernelError, match="changes all the time"):
        dumped(ends, *[part(b"1234", NLM_F_DUMP_INTR) + done()] * 6)
    assert asked(ends[1]) == 5


def test_what_stays_is_in_one_of_many_readings() -> None:
    incomplete = [([b"1", b"2"], False), ([b"3", b"1"], False), ([b"4"], False)]
    readings = iter([*incomplete, ([b"4"], True), ([b"4"], True), ([b"5"], True)])
    assert list(dumps.staying(lambda: next(readings))) == [b"4"]
    told_late = iter([([b"1"], True), ([b"1", b"2"], True), ([b"1", b"2"], True)])
    assert list(dumps.staying(lambda: next(told_late))) == [b"1", b"2"]
    missing = itertools.cycle([([b"1", b"2"], False), ([b"2", b"3"], False)])
    assert list(dumps.staying(lambda: next(missing))) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("last", [error, done])
def test_what_does_not_exist_has_nothing(ends: Ends, last: Callable[[int], bytes]) -> None:
    assert dumped(ends, last(errno.ENOENT)) == ([], 1)
    assert dumped(ends, part(b"1234"), last(errno.ENOENT)) == ([], 1)


@pytest.mark.parametrize("last", [error, done])
def test_an_error_is_not_the_end_of_what_there_is(ends: Ends, last: Callable[[int], bytes]) -> None:
    for answers in ([last(errno.ENOMEM)], [part(b"1234") + last(errno.ENOMEM)]):
        with pytest.raises(KernelError, match=os.strerror(errno.ENOMEM)):
            dumped(ends, *answers)


@pytest.mark.parametrize("last", [error, done])
def test_with_a_limit_too_an_error_is_no_end(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, last: Callable[[int], bytes]
) -> None:
    monkeypatch.setattr(nft, "asking", lambda: nullcontext(ends[0]))
    ends[1].send(part(b"1234") + last(errno.ENOMEM))
    with pytest.raises(KernelError, match=os.strerror(errno.ENOMEM)):
        nft._some(KIND, b"four", 10)


def test_of_what_is_more_than_wanted_no_more_is_read(ends: Ends) -> None:
    ours, theirs = ends
    theirs.send(part(b"1234") + part(b"5678"))  # and no end
    assert asked_for(ours, theirs, 1) is None
    theirs.send(part(b"1234") + part(b"5678") + done())
    assert asked_for(ours, theirs, 1) is None
    both = part(b"1234") + part(b"5678")
    for answers in ([both + done()], [both, done()]):
        for answer in answers:
            theirs.send(answer)
        assert asked_for(ours, theirs, 2) == [b"1234", b"5678"]


def asked_for(ours: socket.socket, theirs: socket.socket, most: int) -> list[bytes] | None:
    """What is read of so many; None where there are more."""
    try:
        found = list(dumps.dump(ours, KIND, b"four", most))
    except dumps.Large:
        found = None
    assert asked(theirs) == 1
    return found
