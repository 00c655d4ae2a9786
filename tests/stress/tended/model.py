"""What a director holds, who works, and random changes of that. Pure."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

REALS = ("10.0.1.11", "10.0.1.12")
SIZE = 16  # addresses of a service and IP version
BLOCKS = {
    "fwmark-17": (17, ("203.0.113.0", "2001:db8:1::")),
    "fwmark-18": (18, ("198.51.100.0", "2001:db8:2::")),
    "web": (0x1000, ("192.0.2.0",)),
}
# What others delete: of `fwmark`, of `route`, of both.
DAMAGES = (
    "nft delete table inet vipctl",
    "nft flush chain inet vipctl prerouting",
    "nft delete element inet vipctl v4_32_1024 { 203.0.113.0 }",
    "ip rule flush; ip rule add lookup main pref 32766; ip rule add lookup default pref 32767",
    "ip -6 rule flush; ip -6 rule add lookup main pref 32766",
    "ip route flush table 30320",
    "ip -6 route flush table 30320",
    "nft delete table inet vipctl_route",
    "nft delete element inet vipctl_route v6_128_1024 { 2001:db8:2:: }",
    "ip -4 route flush table local proto 118",
    "ip link set lo down; ip link set lo up",
    "nft flush ruleset",
)


def addresses(name: str) -> list[str]:
    """Return all that the service may hold; the first of each IP version it always holds."""
    firsts = map(ip_address, BLOCKS[name][1])
    return [str(first + n) for first in firsts for n in range(SIZE)]


def cores(name: str) -> list[str]:
    """Return what the service always holds."""
    return addresses(name)[::SIZE]


@dataclass(frozen=True)
class Model:
    """What is stored: what services hold, the weights of web's real servers."""

    held: Mapping[str, frozenset[str]] = field(
        default_factory=lambda: {name: frozenset(cores(name)) for name in BLOCKS}
    )
    weights: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(REALS, 1))

    def marks(self) -> dict[str, int]:
        """Return what is accepted, with its mark."""
        return {vip: BLOCKS[name][0] for name, held in self.held.items() for vip in held}

    def added(self, name: str, some: Iterable[str]) -> "Model":
        """The service holds these too."""
        return replace(self, held={**self.held, name: self.held[name] | {*some}})

    def removed(self, name: str, some: Iterable[str]) -> "Model":
        """The service holds none of these."""
        return replace(self, held={**self.held, name: self.held[name] - {*some}})

    def weighed(self, real: str, weight: int) -> "Model":
        """The real server has another weight."""
        return replace(self, weights={**self.weights, real: weight})


def command(dice: random.Random, model: Model) -> tuple[list[str], Model]:
    """Return the words of one, and what is stored after it."""
    if dice.random() < 0.3:
        real, weight = dice.choice(REALS), dice.randint(0, 3)
        return ["set-real", "web", f"{real},weight={weight}"], model.weighed(real, weight)
    name = dice.choice(list(BLOCKS))
    free = [address for address in addresses(name) if address not in cores(name)]
    some = dice.sample(free, dice.randint(1, len(free)))
    if dice.random() < 0.5:
        return ["add-range", *some, "--service", name], model.added(name, some)
    return ["remove-range", *some, "--service", name], model.removed(name, some)
