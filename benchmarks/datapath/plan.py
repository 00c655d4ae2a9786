"""What is measured: cases, their addresses, what a case comes to. Pure."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from vipctl import methods
from vipctl.addresses.few import BITS
from vipctl.addresses.prefixes import VERSIONS
from vipctl.services.change import Acceptance, Entry, Shape
from vipctl.services.service import Service

METHODS = ("shim", "route", "fwmark")
SIZES = (1, 10_000, 100_000, 1_000_000)
MIX = "mixed"  # as a size: MIXED prefixes of LENGTHS lengths, a host's the longest
MIXED, LENGTHS = 10_000, 9
OWNED, NOTHING = "owned", "nothing"
VIPS = 1_000
SEED = 118

# At one prefix the VIPs lie in it; the scattered ones are drawn around it.
BLOCKS = {4: (20 << 24, 8), 6: (0x20010DB8 << 96, 32)}
# First bytes of blocks that are, in part at least, no public unicast addresses; and that of BLOCKS.
PUBLIC = frozenset(range(1, 224)) - {10, 20, 100, 127, 169, 172, 192, 198, 203}


@dataclass(frozen=True, slots=True)
class Case:
    """A director: `method` makes it accept `size` prefixes of one IP version.

    OWNED is the baseline for VIPs, which are as many addresses of it, in one prefix or scattered as
    `size` says; NOTHING that for other traffic.
    """

    method: str
    version: int
    size: int = 0
    lengths: int = 1

    @property
    def scattered(self) -> bool:
        """Tell whether VIPs come from everywhere, not from one prefix."""
        return self.size > 1

    def __str__(self) -> str:
        sizes = f", {heading(self.version, self.size, self.lengths)}"
        sizes = sizes if self.method in METHODS else ""
        where = "" if self.method == NOTHING or self.scattered else ", in one"
        return f"IPv{self.version} {self.method}{sizes or where}"


@dataclass(frozen=True, slots=True)
class Cost:
    """Instructions for a packet of one case: for a VIP, or another that is forwarded.

    `gross` is with the sender's and the tap's own work, which `harness` is; `mean` is as `gross`,
    with timer interrupts.
    """

    method: str
    version: int
    size: int
    traffic: str
    gross: float
    mean: float
    harness: float
    lengths: int = 1

    @property
    def net(self) -> float:
        """What is between the device's receive and the device's transmit."""
        return self.gross - self.harness


def cases(methods: Sequence[str], sizes: Sequence[int], *, mixed: bool) -> Iterator[Case]:
    """Yield all, the baselines first."""
    for version in VERSIONS:
        yield Case(NOTHING, version)
        scattered = [VIPS] if mixed else []
        for size in dict.fromkeys([*(1 if size == 1 else VIPS for size in sizes), *scattered]):
            yield Case(OWNED, version, size)
        for method in methods:
            yield from (Case(method, version, size) for size in sizes)
            yield from [Case(method, version, MIXED, LENGTHS)] if mixed else []


def heading(version: int, size: int, lengths: int) -> str:
    """Return what a method accepts, in words."""
    if lengths == 1:
        return "1 prefix" if size == 1 else f"{size:,} prefixes"
    bits = BITS[version]
    return f"{size:,} prefixes, /{bits - lengths + 1} to /{bits}"


def vips(case: Case) -> list[int]:
    """Return the VIPs that get packets, in their order; the same for all sizes but one."""
    if case.scattered:
        return _scattered(case.version)[VIPS : 2 * VIPS]
    start, length = BLOCKS[case.version]
    draw = random.Random(SEED)
    return [start | draw.getrandbits(BITS[case.version] - length) for _ in range(VIPS)]


def others(version: int) -> list[int]:
    """Return destinations that are never VIPs, scattered among them."""
    return _scattered(version)[:VIPS]


def entries(case: Case, mark: int) -> Iterator[Entry]:
    """Yield the prefixes of a case; the VIPs are a random sample of them, or of their addresses."""
    if not case.scattered:
        start, length = BLOCKS[case.version]
        yield Entry(Shape(case.version, 0, length), start, mark)
        return
    for number in range(case.size):
        free = number % case.lengths
        start = _scattered(case.version)[VIPS + number] >> free << free
        yield Entry(Shape(case.version, 0, BITS[case.version] - free), start, mark)


def acceptance(case: Case, service: Service) -> Acceptance:
    """Return what a method has to know of a case."""
    longest = BITS[case.version] if case.scattered else BLOCKS[case.version][1]
    bare = (Shape(case.version, 0, longest - free) for free in range(case.lengths))
    sized = methods.get(service.method).SIZED
    count = -(-case.size // case.lengths)
    return Acceptance((service,), frozenset(s.sized(count) if sized else s for s in bare))


@cache
def _scattered(version: int) -> list[int]:
    """Return distinct public unicast addresses in random order, enough for the largest case."""
    draw = random.Random(SEED + version)
    pick = _public4 if version == 4 else _global6
    found: dict[int, None] = {}
    while len(found) < VIPS + SIZES[-1]:
        found[pick(draw)] = None
    return list(found)


def _public4(draw: random.Random) -> int:
    while True:
        address = draw.getrandbits(32)
        if address >> 24 in PUBLIC:
            return address


def _global6(draw: random.Random) -> int:
    """Pick from 2000::/3, of which BLOCKS takes next to nothing."""
    return 1 << 125 | draw.getrandbits(125)
