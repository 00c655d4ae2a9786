"""Netlink by the megabyte: messages are rows of a numpy array, all of one template."""

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

# linux/netlink.h
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_EXCL, NLM_F_CREATE = 1, 4, 0x300, 0x200, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
NESTED, NET_BYTEORDER = 0x8000, 0x4000
SO_SNDBUFFORCE = 32  # asm-generic/socket.h
HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
FLAGS = 6  # where they are in a header
LAST = 1  # the sequence number of what is acknowledged

Rows = NDArray[np.uint8]


def attribute(kind: int, value: bytes) -> bytes:
    """Pack an attribute, padded."""
    return ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, flags: int, content: bytes) -> bytes:
    """Pack a message; one that is acknowledged is the last."""
    sequence = LAST if flags & NLM_F_ACK else 0
    return HEADER.pack(16 + len(content), kind, flags | NLM_F_REQUEST, sequence, 0) + content


def rows(template: bytes, at: int, keys: Rows) -> Rows:
    """Repeat a template, each time with another key."""
    made = np.tile(np.frombuffer(template, np.uint8), (len(keys), 1))
    made[:, at : at + keys.shape[1]] = keys
    return made


def read_keys(path: str, width: int) -> Rows:
    """Return addresses of so many bytes."""
    return np.fromfile(path, np.uint8).reshape(-1, width)


def slices(table: Rows, nbytes: int) -> Iterator[Rows]:
    """Cut rows into parts of at most so many bytes."""
    step = nbytes // table.shape[1]
    for start in range(0, len(table), step):
        yield table[start : start + step]


@contextmanager
def connect(protocol: int, nbytes: int) -> Iterator[socket.socket]:
    """Open a socket that sends so many bytes at once."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as link:
        link.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, nbytes + (1 << 20))
        yield link


def send(link: socket.socket, chunks: Iterable[bytes]) -> None:
    """Send each chunk when the one before is acknowledged."""
    for chunk in chunks:
        link.sendall(chunk)
        while not _is_acknowledged(link.recv(1 << 20)):
            pass


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield type, sequence number and content of what was received."""
    at = 0
    while at < len(data):
        size, kind, _, sequence, _ = HEADER.unpack_from(data, at)
        yield kind, sequence, data[at + HEADER.size : at + size]
        at += size + 3 & ~3


def _is_acknowledged(data: bytes) -> bool:
    for kind, sequence, content in messages(data):
        if kind == NLMSG_ERROR:
            if code := -int.from_bytes(content[:4], "little", signed=True):
                raise OSError(code, os.strerror(code) if code < 4096 else f"error {code}")
            if sequence == LAST:
                return True
    return False
