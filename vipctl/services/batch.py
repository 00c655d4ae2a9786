"""Batches of prefixes to add or remove: packed, by the lookup they go to and the mark they get.

Network addresses are concatenated, big-endian; no prefix is in a batch twice. Pure.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

from vipctl.addresses.few import WIDTH
from vipctl.addresses.spans import common, records_without
from vipctl.services.change import Entry, Held, Shape

Batch = dict[tuple[Shape, int], bytes]
K = TypeVar("K", bound=Hashable)


def of(held: Held, marks: Mapping[str, int]) -> Batch:
    """The minimal prefixes of what services hold, with the services' marks."""
    found: Batch = {}
    for (service, version, plane), spans in held.items():
        for length, addresses in spans.prefixes().items():
            found[Shape(version, plane, length), marks[service]] = addresses
    return found


def of_entries(entries: Iterable[Entry]) -> Batch:
    found: dict[tuple[Shape, int], bytearray] = {}
    for shape, start, mark in entries:
        packed = start.to_bytes(WIDTH[shape.version], "big")
        found.setdefault((shape, mark), bytearray()).extend(packed)
    return {key: bytes(addresses) for key, addresses in found.items()}


def entries(batch: Batch) -> Iterator[Entry]:
    for (shape, mark), addresses in batch.items():
        width = WIDTH[shape.version]
        for at in range(0, len(addresses), width):
            yield Entry(shape, int.from_bytes(addresses[at : at + width], "big"), mark)


def count(batch: Batch) -> int:
    """The number of prefixes."""
    return sum(len(found) // WIDTH[shape.version] for (shape, _), found in batch.items())


def union(some: Batch, others: Batch) -> Batch:
    """The prefixes of both; no prefix may be in both."""
    return some | {key: some.get(key, b"") + addresses for key, addresses in others.items()}


def without(some: Batch, others: Batch) -> Batch:
    """`some` without the prefixes that `others` has with the same mark."""
    return _compact(
        {
            key: records_without(WIDTH[key[0].version], addresses, others.get(key, b""))
            for key, addresses in some.items()
        }
    )


def sized(batch: Batch, shapes: Iterable[Shape]) -> Batch:
    """The batch with sized shapes, those of `shapes`, instead of bare ones."""
    rooms = {shape.bare(): shape for shape in shapes}
    return {(rooms[shape.bare()], mark): found for (shape, mark), found in batch.items()}


def by_shape(batch: Batch) -> dict[Shape, bytes]:
    """The prefixes, whatever their marks."""
    found: dict[Shape, bytes] = {}
    for (shape, _), addresses in batch.items():
        found[shape] = found.get(shape, b"") + addresses
    return found


def elsewhere(some: Batch, others: Batch) -> Batch:
    """`some` without the prefixes that `others` has, with whatever mark."""
    gone = by_shape(others)
    return _compact(
        {
            (shape, mark): records_without(WIDTH[shape.version], addresses, gone.get(shape, b""))
            for (shape, mark), addresses in some.items()
        }
    )


def also_in(some: Batch, others: Batch) -> Batch:
    """The prefixes of `some` that `others` has too, with whatever mark."""
    kept = by_shape(others)
    return _compact(
        {
            (shape, mark): common(WIDTH[shape.version], addresses, kept.get(shape, b""))
            for (shape, mark), addresses in some.items()
        }
    )


def same(width: int, some: Mapping[K, bytes], others: Mapping[K, bytes]) -> bool:
    """Whether the packed addresses of each key are the same, in whatever order."""
    return {k for k, a in some.items() if a} == {k for k, a in others.items() if a} and all(
        len(addresses) == len(others.get(key, b""))
        and not records_without(width, addresses, others.get(key, b""))
        for key, addresses in some.items()
    )


def _compact(batch: Batch) -> Batch:
    return {key: addresses for key, addresses in batch.items() if addresses}
