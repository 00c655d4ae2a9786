"""What a director is asked to do: services, real servers, who holds which addresses. Pure."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from vipctl.addresses.prefixes import VERSIONS, AddressSet, IPAddress
from vipctl.addresses.spans import Spans
from vipctl.errors import Refused
from vipctl.services.choices import AUTO as AUTO
from vipctl.services.choices import PROXY as PROXY
from vipctl.services.choices import ROUTE as ROUTE
from vipctl.services.choices import Forward as Forward
from vipctl.services.choices import Leftover as Leftover

ACCEPTANCE_PREFIX = "fwmark-"  # names of acceptance-only services

# Marks that vipctl gives out: bit 12 set, bits 0-6 and 8-11 free. The other bits belong to others:
# 7 to the AWS CNI, 13 to portmap, 14-15 to Kubernetes, 16-23 to Tailscale, 16-31 to Calico.
MARK_VALUE = 0x1000
MARK_MASK = 0xFFFFF080

# IP_VS_SVC_F_SCHED1 and IP_VS_SVC_F_SCHED2 of include/uapi/linux/ip_vs.h, under their names.
SCHEDULER_FLAGS: dict[str, dict[str, int]] = {
    "sh": {"fallback": 0x08, "port": 0x10},
    "mh": {"fallback": 0x08, "port": 0x10},
}


class Port(NamedTuple):
    protocol: str
    number: int

    def __str__(self) -> str:
        return f"{self.protocol}/{self.number}"


class RealServer(NamedTuple):
    """One real server; port 0 means the port that the client asked for."""

    address: IPAddress
    port: int = 0
    weight: int = 1

    @property
    def endpoint(self) -> str:
        if not self.port:
            return str(self.address)
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return self.endpoint if self.weight == 1 else f"{self.endpoint},weight={self.weight}"


class Scheduler(NamedTuple):
    name: str = "wlc"
    flags: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ",".join((self.name, *self.flags))

    def drains(self) -> bool:
        """Whether a client that hashes to a server of weight 0 gets another server."""
        return self.name != "dh" and (self.name not in SCHEDULER_FLAGS or "fallback" in self.flags)


DEFAULT_SCHEDULER = Scheduler()


class Service(NamedTuple):
    """A named set of VIPs and how its traffic is balanced.

    `persistence` is in seconds, 0 for none; empty `ports` means every protocol and port.
    `to_port` and `to_addresses` (at most one of an IP version) are where a local proxy listens.
    """

    name: str
    fwmark: int
    method: str = "fwmark"
    scheduler: Scheduler = DEFAULT_SCHEDULER
    forward: Forward = Forward.NAT
    ports: tuple[Port, ...] = ()
    persistence: int = 0
    leftover: Leftover = Leftover.REJECT
    ping: bool = False
    set_sysctls: bool = False
    reals: tuple[RealServer, ...] = ()
    arp: bool = False
    to_port: int = 0
    to_addresses: tuple[IPAddress, ...] = ()

    @property
    def accepted_only(self) -> bool:
        """Whether keepalived or ipvsadm owns the IPVS side."""
        return self.name.startswith(ACCEPTANCE_PREFIX)

    @property
    def proxied(self) -> bool:
        """Whether a local proxy gets the packets, and IPVS none."""
        return self.method == PROXY

    @property
    def balanced(self) -> bool:
        """Whether IPVS has virtual services of ours for it."""
        return not (self.accepted_only or self.proxied)

    def versions(self) -> frozenset[int]:
        """IP versions for which there is a real server."""
        return frozenset(real.address.version for real in self.reals)

    def with_reals(self, reals: Iterable[RealServer]) -> "Service":
        return checked(self._replace(reals=tuple(sorted(reals, key=real_key))))


def checked(service: Service) -> Service:
    """The service, if its options go together. Raises Refused."""
    _refuse_options_of_other_methods(service)
    ported = (real for real in service.reals if real.port and service.forward is not Forward.NAT)
    for real in ported:
        raise Refused(
            f"real server {real.endpoint} names a port, which --forward {service.forward} "
            "cannot translate",
            hint=f"name it as {real.address}, or use --forward nat",
        )
    return service


def _refuse_options_of_other_methods(service: Service) -> None:
    if service.proxied and not service.to_port:
        raise Refused(
            f"method {PROXY} needs the port that the proxy listens on", hint="add --to-port PORT"
        )
    if service.proxied and (service.accepted_only or service.reals):
        raise Refused(
            f"method {PROXY} hands packets to a local proxy, IPVS never sees them: real servers "
            "and fwmarks for keepalived or ipvsadm are not for it",
            hint="configure the servers in the proxy; for a service that IPVS balances, "
            "remove-service and add it anew",
        )
    if service.proxied and any(port.protocol == "sctp" for port in service.ports):
        raise Refused(
            f"method {PROXY} cannot hand sctp to a proxy, only tcp and udp",
            hint="name tcp and udp ports, or use a method that IPVS balances",
        )
    if not service.proxied and (service.to_port or service.to_addresses):
        raise Refused(
            f"--to-port and --to-address are for --method {PROXY}, not {service.method}",
            hint="leave them out",
        )
    if service.arp and service.method != ROUTE:
        raise Refused(
            f"with method {service.method} the director never answers ARP for VIPs",
            hint=f"use --method {ROUTE}, or --no-arp and a route at the upstream router",
        )


def real_key(real: RealServer) -> tuple[int, int, int]:
    return real.address.version, int(real.address), real.port


class Place(NamedTuple):
    """Where a service holds spans of addresses.

    Spans of one plane never overlap, so a plane is one lookup. All is in plane 0 but what two
    services with disjoint ports share.
    """

    service: str
    version: int
    plane: int


Held = Mapping[Place, Spans]
NOBODY: Held = {}


SMALLEST_ROOM = 1024


class Shape(NamedTuple):
    """One kernel lookup: all prefixes of one IP version, plane and length.

    Some kinds of lookup are faster in a table that does not grow, with `room` for so many prefixes.
    """

    version: int
    plane: int
    length: int
    room: int = 0

    def sized(self, count: int) -> "Shape":
        """A growing number of prefixes seldom needs another."""
        room = SMALLEST_ROOM
        while room < count:
            room *= 4
        return self._replace(room=room)

    def bare(self) -> "Shape":
        return self._replace(room=0)


class Entry(NamedTuple):
    """One prefix in the kernel and the mark that its packets get."""

    shape: Shape
    start: int
    mark: int


class Acceptance(NamedTuple):
    """All that a method has to know beside the prefixes themselves.

    `witnesses` are a few of those, that can be looked for where all cannot. `owner` tells the state
    directory, to be said in the kernel where there is a place for it.
    """

    services: tuple[Service, ...]
    shapes: frozenset[Shape]
    witnesses: tuple[Entry, ...] = ()
    owner: str = ""

    def active(self) -> bool:
        return bool(self.services and self.shapes)

    def has(self, version: int) -> bool:
        return any(shape.version == version for shape in self.shapes)


NOTHING = Acceptance((), frozenset())


class Change(NamedTuple):
    """The difference between two states; what is in none of its parts stays."""

    before: tuple[Service, ...] = ()
    after: tuple[Service, ...] = ()
    released: Held = NOBODY
    taken: Held = NOBODY

    def __bool__(self) -> bool:
        return bool(self.before != self.after or self.released != self.taken)

    def inverse(self) -> "Change":
        return Change(self.after, self.before, self.taken, self.released)

    def gained(self) -> AddressSet:
        """Addresses that were held by nobody of these services and now are."""
        return _without(self.taken, self.released)

    def lost(self) -> AddressSet:
        return _without(self.released, self.taken)


def _without(left: Held, right: Held) -> AddressSet:
    return AddressSet(joined(left, 4) - joined(right, 4), joined(left, 6) - joined(right, 6))


def joined(held: Held, version: int) -> Spans:
    """All addresses of an IP version, whoever has them."""
    found = [spans for place, spans in held.items() if place.version == version]
    return found[0] if len(found) == 1 else Spans.of(version, b"".join(s.data for s in found))


def ports_disjoint(left: Service, right: Service) -> bool:
    """Whether both name ports and share none: then they may share VIPs."""
    return bool(left.ports and right.ports and not set(left.ports) & set(right.ports))


def free_mark(used: Iterable[int]) -> int:
    """The lowest mark of vipctl's block that is not in use. Raises Refused."""
    taken = set(used)
    for value in range(MARK_VALUE, MARK_VALUE << 1):
        if value & MARK_MASK == MARK_VALUE and value not in taken:
            return value
    raise Refused("all 2048 fwmarks of vipctl's block are in use", hint="name one with --fwmark")


def idle_versions(service: Service) -> tuple[int, ...]:
    """IP versions whose clients nobody can serve, so that they are refused at once."""
    if not service.balanced:
        return ()
    return tuple(v for v in VERSIONS if v not in service.versions())


def acceptance_name(mark: int) -> str:
    return f"{ACCEPTANCE_PREFIX}{mark}"
