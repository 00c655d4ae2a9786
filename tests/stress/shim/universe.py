"""What the director may hold in a stress, and what a client must meet there. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from vipctl.addresses.spans import Spans
from vipctl.services import batch
from vipctl.services.change import Acceptance, Entry, Held, Place
from vipctl.services.real import RealServer
from vipctl.services.service import Service, idle_versions
from vipctl.services.values import Leftover, Port

SLOTS = 256  # of an IP version
SIZE = {4: 1 << 6, 6: 1 << 64}  # addresses of a slot: a /26, a /64
FIRST = {
    4: int(ip_network("198.18.0.0/18").network_address),
    6: int(ip_network("2001:db8:100::/56").network_address),
}
CORE = range(4)  # slots that are in all the time
OUTSIDE = range(SLOTS - 4, SLOTS)  # slots that never are
FLOW_PORT = 9000  # of the flow to both of these
STEADY, MOODY, SHARED = ("one", "other"), "moody", "shared"
MARKS = {"one": 0x1001, "other": 0x1002, MOODY: 0x1003, SHARED: 0x1004}
PLANES = {name: 1 if name == SHARED else 0 for name in MARKS}


class Slot(NamedTuple):
    """A run of addresses that are in or out together."""

    version: int
    number: int

    def address(self, offset: int = 7) -> str:
        """One of its addresses."""
        start = FIRST[self.version] + self.number * SIZE[self.version]
        return str(ip_address(start + offset % SIZE[self.version]))


class Ask(NamedTuple):
    """What a client sends to a slot: tcp or udp and a port, or icmp and 0."""

    protocol: str
    port: int


REALS = {4: ("10.0.1.11", "10.0.1.12"), 6: ("fd00:1::11", "fd00:1::12")}
PING = Ask("icmp", 0)
Holding = Mapping[Slot, str]  # the name of the service that holds a slot


@dataclass(frozen=True)
class State:
    """Services by name, and what each holds: in plane 0 and, `shared`, in plane 1."""

    services: Mapping[str, Service]
    held: Holding
    shared: frozenset[Slot] = frozenset()

    def answers(self, slot: Slot, ask: Ask) -> bool:
        """Whether a client gets what it asks for."""
        names = [self.held[slot]] if slot in self.held else []
        holders = [self.services[name] for name in (*names, *([SHARED] * (slot in self.shared)))]
        if ask == PING:
            takers = [holder for holder in holders if _takes(holder, slot.version, ask)]
            return [*takers[:1], *holders[-1:]][0].ping if holders else False
        return any(_takes(holder, slot.version, ask) for holder in holders)

    @cached_property
    def entries(self) -> frozenset[Entry]:
        """The prefixes of all this, as vipctl cuts them."""
        pairs = ((name, version) for name in self.services for version in SIZE)
        return frozenset(
            entry
            for name, version in pairs
            for entry in batch.entries(
                batch.of(_held(name, version, self._numbers(name, version)), MARKS)
            )
        )

    @cached_property
    def acceptance(self) -> Acceptance:
        """What a method has to know, beside the entries."""
        services = tuple(sorted(self.services.values(), key=lambda service: service.fwmark))
        return Acceptance(services, frozenset(entry.shape for entry in self.entries))

    def _numbers(self, name: str, version: int) -> list[int]:
        holding: Iterable[Slot] = self.shared
        if name != SHARED:
            holding = (slot for slot, holder in self.held.items() if holder == name)
        return [slot.number for slot in holding if slot.version == version]


NOTHING = State({}, {})


def service(name: str, versions: Iterable[int] = (4, 6)) -> Service:
    """A service with real servers of these IP versions, as the stress begins with it."""
    reals = tuple(RealServer(ip_address(real)) for v in sorted(versions) for real in REALS[v])
    return Service(name, MARKS[name], method="shim", reals=reals, ports=PORTS[name][0])


def _ports(*words: str) -> tuple[Port, ...]:
    pairs = (word.split("/") for word in words)
    return tuple(Port(protocol, int(number)) for protocol, number in pairs)


# What a service may take; the steady ones always take the flow.
ALWAYS = _ports(f"udp/{FLOW_PORT}", "tcp/80")
PORTS = {
    "one": ((), ALWAYS, _ports(f"udp/{FLOW_PORT}", "udp/80")),
    "other": (ALWAYS, (), _ports(f"udp/{FLOW_PORT}", "tcp/80", "udp/80")),
    MOODY: ((), _ports("tcp/80"), _ports("udp/80", "tcp/81")),
    SHARED: (_ports("tcp/81", "udp/81"), _ports("tcp/81")),
}
LEFTOVERS = (Leftover.REJECT, Leftover.DROP)


def _takes(holder: Service, version: int, ask: Ask) -> bool:
    if version in idle_versions(holder):
        return False
    return not holder.ports or Port(ask.protocol, ask.port) in holder.ports


def _held(name: str, version: int, numbers: Iterable[int]) -> Held:
    first, size = FIRST[version], SIZE[version]
    slots = ((first + n * size, first + (n + 1) * size - 1) for n in numbers)
    return {Place(name, version, PLANES[name]): Spans.from_pairs(version, slots)}
