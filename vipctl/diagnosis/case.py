"""What is asked, and what all legs of the way need to know of it."""

from ipaddress import ip_network
from typing import NamedTuple

from vipctl import methods
from vipctl.addresses.prefixes import IPAddress
from vipctl.errors import Missing
from vipctl.health.verdicts import effective
from vipctl.linux import ipvs
from vipctl.linux.ipvs import TUNNEL_FLAG, TUNNEL_TYPE, wording
from vipctl.linux.ipvs.messages import Dest, Key, Virtual
from vipctl.linux.routing import ways
from vipctl.linux.routing.localroutes import RT_TABLE_LOCAL
from vipctl.linux.routing.ways import Own
from vipctl.services.change import Entry
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.services.values import Forward, Port, Tunnel
from vipctl.state.store import Store

ANY_PORT = Port("tcp", 0)  # of packets that are routed alike whatever their port


class Question(NamedTuple):
    """A client's packet: `device` is what it arrives by, 0 if the director itself asks."""

    vip: IPAddress
    port: Port
    client: IPAddress
    device: int

    @property
    def device_name(self) -> str:
        return ways.name_of(self.device)


class Case(NamedTuple):
    """A question, the service that it is for, and the prefix that holds the VIP.

    `seen` is what IPVS has of the service; None if it has none, or there is no IPVS (`ipvs` is
    False). `own` are the director's addresses.
    """

    store: Store
    asked: Question
    service: Service
    entry: Entry
    own: tuple[Own, ...]
    ipvs: bool = False
    seen: Virtual | None = None

    @property
    def version(self) -> int:
        return self.asked.vip.version

    @property
    def mark(self) -> int:
        """That packets for the VIP have where they are routed."""
        local = methods.get(self.service.method).LOCAL
        return 0 if local == RT_TABLE_LOCAL else self.service.fwmark

    @property
    def arriving(self) -> int:
        """The device by which its packets come in; 0 if they do not.

        What the director itself asks a proxy for leaves it by the VIP's route, and comes back.
        """
        proxied = self.service.proxied and ways.device_to(self.asked.vip)
        return self.asked.device or proxied or 0

    @property
    def stored(self) -> tuple[RealServer, ...]:
        """The real servers that may get its packets by what is stored, as checks leave them."""
        if not self.service.balanced:
            return ()
        left = effective(self.service, self.store.verdicts())
        return tuple(real for real in left.reals if self.version in real.versions)

    @property
    def reals(self) -> tuple[RealServer, ...]:
        """Those in IPVS, with their forwarding methods; the stored ones where IPVS has none."""
        if self.seen is None:
            return tuple(r._replace(forward=self.service.forward_of(r)) for r in self.stored)
        return tuple(_real(dest) for dest in self.seen.dests)

    @property
    def chosen(self) -> tuple[RealServer, ...]:
        """Those that a new client may get."""
        return tuple(real for real in self.reals if real.weight)

    def is_own(self, address: IPAddress) -> bool:
        return any(found.address == address for found in self.own)


def of(store: Store, asked: Question, service: Service, entry: Entry, own: list[Own]) -> Case:
    """Asks IPVS. Raises KernelError."""
    found = Case(store, asked, service, entry, tuple(own))
    if service.proxied:
        return found
    key = Key(service.fwmark, asked.vip.version)
    try:
        return found._replace(ipvs=True, seen=ipvs.read([key.mark]).get(key))
    except Missing:
        return found


def _real(dest: Dest) -> RealServer:
    kind, checksum = (
        next(name for name, number in known.items() if number == value)
        for known, value in (
            (TUNNEL_TYPE, dest.tunnel.kind),
            (TUNNEL_FLAG, dest.tunnel.flags),
        )
    )
    forward = wording.FORWARD.get(dest.forward, Forward.NAT)  # another: it is the director itself
    return dest.real._replace(forward=forward, tunnel=Tunnel(kind, dest.tunnel.port, checksum))


def connected(case: Case, address: IPAddress) -> list[Own]:
    """The director's addresses whose connected networks hold an address."""
    return [
        found
        for found in case.own
        if found.address.version == address.version
        and address in ip_network((found.address, found.length), strict=False)
    ]
