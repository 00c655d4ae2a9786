"""Sets of ports, in one form: sorted, none overlapping or next to another. Pure."""

from collections.abc import Iterable, Iterator

from vipctl.services.values import Port

Ports = tuple[Port, ...]


def port(protocol: str, first: int, last: int) -> Port:
    return Port(protocol, first, 0 if first == last else last)


def union(ports: Iterable[Port]) -> Ports:
    """Those that overlap or touch become one."""
    found: list[Port] = []
    for one in sorted(ports, key=lambda p: (p.protocol, p.number, -p.end)):
        before = found[-1] if found else None
        if before and before.protocol == one.protocol and one.number <= before.end + 1:
            found[-1] = port(one.protocol, before.number, max(before.end, one.end))
        else:
            found.append(one)
    return tuple(found)


def difference(ports: Ports, gone: Iterable[Port]) -> Ports:
    for hole in gone:
        ports = tuple(rest for one in ports for rest in _without(one, hole))
    return ports


def disjoint(some: Ports, others: Ports) -> bool:
    return not any(_overlap(one, other) for one in some for other in others)


def _without(one: Port, hole: Port) -> Iterator[Port]:
    if not _overlap(one, hole):
        yield one
        return
    if one.number < hole.number:
        yield port(one.protocol, one.number, hole.number - 1)
    if hole.end < one.end:
        yield port(one.protocol, hole.end + 1, one.end)


def _overlap(one: Port, other: Port) -> bool:
    return one.protocol == other.protocol and one.number <= other.end and other.number <= one.end
