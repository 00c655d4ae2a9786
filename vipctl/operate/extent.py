"""How many services and prefixes of vipctl's the kernel has, as far as it says so quickly."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from vipctl import methods
from vipctl.errors import VipctlError
from vipctl.linux.nftables import elements, listing
from vipctl.linux.nftables.ruleset import shape_of
from vipctl.linux.nftables.transactions import Owned
from vipctl.services import seal
from vipctl.services.change import NOTHING
from vipctl.services.methods import METHODS

MOST = 10_000  # prefixes that are counted in each map, about


def words() -> str:
    counts: Counter[int] = Counter()
    for name in methods.NAMES:
        with suppress(VipctlError):
            for mark, number in _of_method(name):
                counts[mark] += number
    if not counts:  # ipsets and routes are not counted
        return f"VIPs by {', '.join(filter(_is_there, methods.NAMES))}"
    total = counts.total()
    more = "more than " if total >= MOST else ""
    return (
        f"{len(counts):,} service{'' if len(counts) == 1 else 's'} with "
        f"{more}{total:,} prefix{'' if total == 1 else 'es'}"
    )


def _is_there(name: str) -> bool:
    try:
        return methods.get(name).seal(NOTHING) != seal.ABSENT
    except VipctlError:
        return False


def _of_method(name: str) -> Iterator[tuple[int, int]]:
    """Marks, and how many prefixes have them."""
    if not METHODS[name].table:
        yield from methods.sizes(name).items()
    else:
        table = Owned("inet", METHODS[name].table)
        found = listing.read(table, ())
        for called in found.maps if found else ():
            if shape := shape_of(called):
                where = elements.Map(table, called, shape.version)
                yield from elements.counted(where, MOST).items()
