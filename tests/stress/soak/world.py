"""Where the VIPs of a soak may lie, which of them never go, and random spans between. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from tests.stress.soak.intervals import Interval, Spans, is_prefix, points, text, tidy
from tests.stress.soak.model import MOODY, STEADY, Model, Service

UNIVERSE = {4: ip_network("198.16.0.0/12"), 6: ip_network("2001:db8:5::/48")}
LONGEST = {4: 15, 6: 40}  # bits of a span's length
SHORT = {4: 5, 6: 6}  # of one of thousands
NEVERS = 2  # of each IP version


@dataclass(frozen=True)
class World:
    """The addresses that a flow goes to: in throughout, by their services' marks, or never in."""

    cores: dict[int, int]  # address → mark
    nevers: tuple[int, ...]

    @classmethod
    def random(cls, dice: random.Random) -> "World":
        """Return one in which some that never are in lie next to one that always is."""
        marks = [*STEADY, *MOODY]
        cores = {_anywhere(dice, version): mark for mark in marks for version in UNIVERSE}
        beside = [address + 1 for address in dice.sample(sorted(cores), NEVERS)]
        others = [_anywhere(dice, version) for version in UNIVERSE]
        return cls(cores, tuple(n for n in (*beside, *others) if n not in cores))

    @property
    def reserved(self) -> tuple[int, ...]:
        """All that a flow goes to."""
        return (*self.cores, *self.nevers)

    def core(self, *marks: int) -> Spans:
        """Return what these services always hold; without any, all of them."""
        return points(a for a, mark in self.cores.items() if not marks or mark in marks)

    def start(self) -> Model:
        """Return the least state: the cores."""
        services = (STEADY | MOODY).items()
        return Model({mark: Service(method, self.core(mark)) for mark, method in services})


def _anywhere(dice: random.Random, version: int) -> int:
    universe = UNIVERSE[version]
    return int(universe.network_address) + dice.randrange(universe.num_addresses)


def span(dice: random.Random, near: Sequence[int], *, sure: bool = False) -> Interval:
    """Return one of any length, often or surely beside or over one of these addresses."""
    if not near or (dice.random() < 0.3 and not sure):
        near = [_anywhere(dice, dice.choice((4, 6)))]
    point = dice.choice(near)
    length = _length(dice, LONGEST[4 if point < 1 << 32 else 6])
    start = point + dice.choice((-length, 1 - length, -(length // 2), 0, 1))
    return _fitted(dice, max(start, 0), length)


def short_spans(dice: random.Random, number: int) -> Spans:
    """Return so many, scattered."""
    versions = dice.choices((4, 6), k=number)
    return tidy(_fitted(dice, _anywhere(dice, v), _length(dice, SHORT[v])) for v in versions)


def _length(dice: random.Random, bits: int) -> int:
    power: int = 1 << dice.randint(0, bits)
    return power if dice.random() < 0.4 else dice.randint(1, power)


def _fitted(dice: random.Random, start: int, length: int) -> Interval:
    """Cut it to the universe; where its length is a power of two, often make it a prefix."""
    universe = UNIVERSE[4 if start < 1 << 32 else 6]
    if length & (length - 1) == 0 and dice.random() < 0.7:
        start &= -length
    lowest, highest = int(universe.network_address), int(universe.broadcast_address)
    first = min(max(start, lowest), highest)
    return first, max(first, min(start + length - 1, highest))


def written(dice: random.Random, spans: Spans) -> list[str]:
    """Write each as one of the words that an operator has for it."""
    return [_word(dice, *interval) for interval in spans]


def _word(dice: random.Random, first: int, last: int) -> str:
    if first == last and dice.random() < 0.7:
        return text(first)
    if is_prefix(first, last) and dice.random() < 0.8:
        bits = 32 if first < 1 << 32 else 128
        return f"{text(first)}/{bits - (last - first).bit_length()}"
    return f"{text(first)}-{text(last)}"
