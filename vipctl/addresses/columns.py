"""Addresses as numpy arrays: one for IPv4; for IPv6 one of the high and one of the low 64 bits."""

import os
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # more threads have nothing to do here

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.uint64]
Columns = tuple[Column, ...]  # most significant first

ONE = np.uint64(1)
FULL = np.uint64(0xFFFFFFFFFFFFFFFF)


def firsts_and_lasts(version: int, data: bytes) -> tuple[Columns, Columns]:
    """The first and the last address of each packed span."""
    if version == 4:
        first, last = np.frombuffer(data, ">u4").reshape(-1, 2).T.astype(np.uint64, order="C")
        return (first,), (last,)
    rows = np.frombuffer(data, ">u8").reshape(-1, 4).T.astype(np.uint64, order="C")
    return (rows[0], rows[1]), (rows[2], rows[3])


def as_bytes(version: int, first: Columns, last: Columns) -> bytes:
    kind = ">u4" if version == 4 else ">u8"
    return bytes(np.column_stack((*first, *last)).astype(kind).tobytes())


def interleaved(columns: Columns) -> bytes:
    return bytes(np.column_stack(columns).astype(">u8").tobytes())


def as_text(columns: Columns) -> NDArray[Any]:
    """As strings of bytes, which sort as the numbers do."""
    return np.frombuffer(interleaved(columns), "S16")


def following(columns: Columns) -> Columns:
    if len(columns) == 1:
        return (columns[0] + ONE,)
    high, low = columns
    return high + (low == FULL), low + ONE


def preceding(columns: Columns) -> Columns:
    if len(columns) == 1:
        return (columns[0] - ONE,)
    high, low = columns
    return high - (low == 0), low - ONE


def ordering(columns: Columns) -> NDArray[np.intp]:
    """The indices that sort the addresses.

    The input is mostly a few sorted runs, which a stable sort merges. IPv6 addresses are sorted
    by their high halves first, and by both only if that is not enough.
    """
    order = np.argsort(columns[0], kind="stable")
    if len(columns) == 1:
        return order
    found = taken(columns, order)
    wrong = exceeds(taken(found, slice(-1)), taken(found, slice(1, None))).any()
    return np.lexsort(tuple(reversed(columns))) if wrong else order


def in_order(columns: Columns) -> Columns:
    return (np.sort(columns[0]),) if len(columns) == 1 else taken(columns, ordering(columns))


def exceeds(left: Columns, right: Columns) -> Any:
    if len(left) == 1:
        return np.greater(left[0], right[0])
    return np.greater(left[0], right[0]) | ((left[0] == right[0]) & (left[1] > right[1]))


def differ(columns: Columns) -> Any:
    """Of each item but the last, whether it is unequal to the next."""
    return np.logical_or.reduce([column[1:] != column[:-1] for column in columns])


def taken(columns: Columns, which: Any) -> Columns:
    return tuple(column[which] for column in columns)


def concatenated(parts: list[Columns]) -> Columns:
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))
