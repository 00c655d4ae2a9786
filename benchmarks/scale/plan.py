"""What is measured: sizes, addresses, who takes part. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from ipaddress import ip_address

from benchmarks.datapath.plan import PUBLIC

SIZES = (1_000, 10_000, 65_536, 262_144, 1_000_000)
ROUNDS = 3
LIMIT = 120.0  # seconds of a command
SLOW = 10.0  # seconds of a load that is measured only once
SEED = 118
MARK = 17
SAMPLE = 20  # VIPs that get packets
SPARE = 1_000  # addresses that are no VIPs, or the ones more


class Kind(Enum):
    """What a contestant is."""

    VIPCTL = "vipctl"
    PEER = "peer"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class Contestant:
    """Who makes a director accept VIPs; `mechanism` is what of the kernel it uses for that."""

    name: str
    kind: Kind
    mechanism: str
    title: str
    plotted: bool = True


CONTESTANTS = (
    Contestant("fwmark", Kind.VIPCTL, "nftables", "vipctl `fwmark`"),
    Contestant("route", Kind.VIPCTL, "routes", "vipctl `route`"),
    Contestant("fwmark-iptables", Kind.VIPCTL, "ipset", "vipctl `fwmark-iptables`"),
    Contestant("address", Kind.PEER, "addresses", "one address per VIP"),
    Contestant("rule", Kind.PEER, "rules", "one rule per VIP"),
    Contestant("nft-interval", Kind.PEER, "nftables", "`nft -f`, interval set"),
    Contestant(
        "nft-hash", Kind.PEER, "nftables", "`nft -f`, hash set of fixed size", plotted=False
    ),
    Contestant("ipset-net", Kind.PEER, "ipset", "`ipset restore`, hash:net"),
    Contestant("ipset-ip", Kind.PEER, "ipset", "`ipset restore`, hash:ip", plotted=False),
    Contestant("ip-route", Kind.PEER, "routes", "`ip -batch`, local routes"),
    Contestant("raw-nft", Kind.RAW, "nftables", "raw nftables, hash map"),
    Contestant(
        "raw-nft-grown", Kind.RAW, "nftables", "raw nftables, map that grows", plotted=False
    ),
    Contestant("raw-route", Kind.RAW, "routes", "raw local routes"),
    Contestant("raw-net", Kind.RAW, "ipset", "raw ipset hash:net"),
    Contestant("raw-ip", Kind.RAW, "ipset", "raw ipset hash:ip", plotted=False),
)
BY_NAME = {contestant.name: contestant for contestant in CONTESTANTS}
METHODS = tuple(c.name for c in CONTESTANTS if c.kind is Kind.VIPCTL)
RAW = {  # what of the kernel's each method cannot do without
    "fwmark": ("raw-nft",),
    "route": ("raw-route", "raw-nft"),
    "fwmark-iptables": ("raw-net",),
}


@lru_cache(maxsize=2)
def vips(version: int, size: int, start: int = 0) -> list[str]:
    """Return scattered addresses; those of a size begin with those of a smaller one."""
    begin, end = SPARE + start, SPARE + start + size
    return [str(ip_address(number)) for number in _scattered(version, end)[begin:]]


def others(version: int) -> list[str]:
    """Return addresses that are scattered likewise and in no size."""
    return [str(ip_address(number)) for number in _scattered(version, SPARE)]


@lru_cache(maxsize=4)
def _scattered(version: int, count: int) -> Sequence[int]:
    """Draw distinct public addresses; more of them begin with the fewer."""
    draw = random.Random(SEED + version)
    pick = _public4 if version == 4 else _global6
    found: dict[int, None] = {}
    while len(found) < count:
        found[pick(draw)] = None
    return list(found)


def _public4(draw: random.Random) -> int:
    while (address := draw.getrandbits(32)) >> 24 not in PUBLIC:
        pass
    return address


def _global6(draw: random.Random) -> int:
    return 1 << 125 | draw.getrandbits(125)


def mixed(count: int) -> list[str]:
    """Return disjoint IPv4 prefixes of all lengths from 24 to 32, as many of each."""
    draw = random.Random(SEED)
    found: dict[int, str] = {}
    while len(found) < count:
        block, length = _public4(draw) >> 8, 24 + len(found) % 9
        start = (block << 8 | draw.getrandbits(8)) >> 32 - length << 32 - length
        found.setdefault(block, f"{ip_address(start)}/{length}")
    return list(found.values())
