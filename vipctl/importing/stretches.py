"""Virtual services by address that have the same options and servers, as one. Pure.

IPVS looks for a port first, then for a service of every port: what is every port but those of
others becomes just that.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from vipctl.addresses.few import Span
from vipctl.addresses.prefixes import VERSIONS
from vipctl.importing.found import Vip, Virtual
from vipctl.importing.reading import Read
from vipctl.services.ports import Ports, difference, union
from vipctl.services.values import EVERY_PORT, Port

T = TypeVar("T")
One = tuple[Virtual, Vip, Read]


class Shared(NamedTuple):
    """What several may share; `virtual` is the first of them."""

    virtual: Virtual
    read: Read
    ports: Ports
    spans: list[tuple[int, Span]]


def shared(some: Iterable[One], twice: Callable[[Virtual, str], None]) -> Iterable[Shared]:
    """`twice` is told of those that another one hides."""
    found: dict[tuple[Read, Ports], Shared] = {}
    ones = list(some)
    for version in VERSIONS:
        of_version = [(one[1].span, one) for one in ones if one[1].version == version]
        for span, here in stretches(of_version):
            for virtual, read, ports in _by_options(here, twice):
                new = Shared(virtual, read, ports, [])
                found.setdefault((read, ports), new).spans.append((version, span))
    return found.values()


def stretches(some: Iterable[tuple[Span, T]]) -> Iterator[tuple[Span, list[T]]]:
    """Cuts spans where others begin or end, with all that lie over each piece, in order."""
    items = list(some)
    events = sorted(
        [(span[0], True, at) for at, (span, _) in enumerate(items)]
        + [(span[1] + 1, False, at) for at, (span, _) in enumerate(items)]
    )
    over: set[int] = set()
    begin = 0
    for where, begins, at in events:
        if over and begin < where:
            yield (begin, where - 1), [items[n][1] for n in sorted(over)]
        begin = where
        if begins:
            over.add(at)
        else:
            over.remove(at)


def _by_options(
    here: Sequence[One], twice: Callable[[Virtual, str], None]
) -> Iterator[tuple[Virtual, Read, Ports]]:
    """Of one stretch: each set of options, with its ports."""
    first: dict[tuple[str, int], Virtual] = {}
    ports: dict[Read, list[Port]] = {}
    of: dict[Read, Virtual] = {}
    named = [Port(vip.protocol, vip.port) for _, vip, _ in here if vip.port]
    for virtual, vip, read in here:
        before = first.setdefault((vip.protocol, vip.port), virtual)
        if before is not virtual:
            twice(virtual, f"is there twice, first at {before.place}")
            continue
        of.setdefault(read, virtual)
        whole = (Port(vip.protocol, *EVERY_PORT),)
        own = (Port(vip.protocol, vip.port),) if vip.port else difference(whole, named)
        ports.setdefault(read, []).extend(own)
    return ((of[read], read, union(own)) for read, own in ports.items())
