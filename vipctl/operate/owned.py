"""VIPs that are the director's own addresses, which also get what is sent to these."""

from collections.abc import Iterable, Iterator

from vipctl.addresses.prefixes import VERSIONS, IPAddress, address
from vipctl.addresses.spans import Spans
from vipctl.errors import KernelError
from vipctl.linux.routing import ways
from vipctl.linux.routing.ways import Own
from vipctl.state.rows import FEW
from vipctl.state.store import Store


def findings(store: Store) -> Iterator[str]:
    """VIPs that are addresses of this director."""
    try:
        yield from told(store, ways.own())
    except KernelError as e:
        yield f"whether VIPs are addresses of the director could not be found out: {e.message}"


def told(store: Store, own: Iterable[Own]) -> Iterator[str]:
    for service, found in taken(store, own):
        yield _words(found, service)


def taken(store: Store, own: Iterable[Own]) -> Iterator[tuple[str, list[IPAddress]]]:
    """Services, and the addresses of the director that are VIPs of theirs."""
    for version in VERSIONS:
        mine = sorted({int(o.address) for o in own if _may_be_vip(o.address, version)})
        vips: dict[str, set[int]] = {}
        for at in range(0, len(mine), FEW):
            some = mine[at : at + FEW]
            held = store.touching(Spans.from_pairs(version, [(n, n) for n in some]))
            for place, spans in held.items():
                vips.setdefault(place.service, set()).update(filter(spans.holds, some))
        for service, found in sorted(vips.items()):
            if found:
                yield service, [address(version, n) for n in sorted(found)]


def _may_be_vip(mine: IPAddress, version: int) -> bool:
    return mine.version == version and not (mine.is_loopback or mine.is_link_local)


def _words(found: list[IPAddress], service: str) -> str:
    are = f"{found[0]}, an address of this director, is a VIP"
    if len(found) > 1:
        are = f"{found[0]} and {len(found) - 1} more, addresses of this director, are VIPs"
    return (
        f"{are} of service {service!r}, which gets what is sent to the director there: "
        f"vipctl remove-range {found[0]} --service {service}"
    )
