"""JSON in pieces, so that a million ranges are never in memory at once. Pure."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice

HERE = "\0"  # a placeholder: the only item of a list whose items come later
PIECE = 4096  # items of a piece


def of(value: object, lists: Iterable[Iterable[str]], indent: int | None = None) -> Iterator[str]:
    """`value` as JSON, in which each [HERE] becomes the next of `lists`; their items are JSON.

    >>> "".join(of({"a": [HERE]}, [["1", "2"]]))
    '{"a": [1, 2]}'
    """
    *heads, tail = json.dumps(value, indent=indent).split(json.dumps(HERE))
    for head, items in zip(heads, lists, strict=True):
        yield head
        yield from _in_pieces("," + (head.rpartition("[")[2] or " "), iter(items))
    yield tail


def _in_pieces(between: str, items: Iterator[str]) -> Iterator[str]:
    yield between.join(islice(items, PIECE))
    while some := list(islice(items, PIECE)):
        yield between + between.join(some)
