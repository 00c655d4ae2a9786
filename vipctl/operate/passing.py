"""The packets of a connection to a VIP as hooks see them, for firewalls that may drop them.

INPUT              from a client to a VIP, with the service's mark; IPVS takes it at priority 99
OUTPUT             what IPVS sends to a real server
FORWARD            nat: the answer of a real server; its source is the VIP from 100 on
"""

from collections.abc import Iterator
from typing import NamedTuple

from vipctl.addresses.prefixes import IPAddress
from vipctl.linux.filters.packet import (
    ESTABLISHED,
    ICMP6,
    INVALID,
    NEW,
    NOWHERE,
    SOLICITATION,
    UNTRACKED,
    Device,
    Hook,
    Packet,
)
from vipctl.linux.filters.walk import Base
from vipctl.linux.routing import ways
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.services.values import Forward, Port

NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}  # include/uapi/linux/in.h
ICMP = {4: 1, 6: 58}
RAW = -200  # connections are tracked from here on: NF_IP_PRI_CONNTRACK
MANGLED = -150  # packets may be marked from here on: by fwmark-iptables
MARKED, TAKEN, ANSWERED = 96, 99, 100  # at LOCAL_IN: by `route`, by IPVS; at FORWARD
LO = Device(1, "lo")  # LOOPBACK_IFINDEX of include/net/flow.h
FIRST, LAST = -1000, 1000  # before and behind all priorities that are in use


class Case(NamedTuple):
    """What is looked at: the same packet by each way that it may come."""

    what: str
    packets: tuple[Packet, ...]
    first: int  # of a chain's priorities that see it so
    last: int
    accepting: str  # a rule, in nft's words and those of iptables
    accepting_legacy: str


class Site(NamedTuple):
    """The director, as far as all packets meet it alike."""

    tracked: bool  # net.ipv4.vs.conntrack
    bases: list[Base]
    devices: dict[int, list[Device]]  # that clients' packets arrive by, for each IP version


class Asked(NamedTuple):
    """What a client asks a service for, and which real server is to answer, if any.

    The VIP may be an address of the director as well (`own`), or `anycast` (see `Packet`).
    """

    service: Service
    vip: IPAddress
    port: Port
    real: RealServer | None = None
    client: IPAddress | None = None  # None: any
    own: bool = False
    anycast: bool = False


def cases(site: Site, asked: Asked) -> Iterator[Case]:
    """The packets of a connection, in their order."""
    devices = site.devices[asked.vip.version]
    yield _to_vips(asked, tuple(_arriving(site, asked, device) for device in devices))
    if asked.real is None:
        return
    sent = _sent(site, asked, asked.real)
    yield _to_reals(asked, sent)
    if asked.service.forward_of(asked.real) is Forward.NAT:
        answer = _answer(site, asked, sent, asked.real)
        yield _from_reals(asked, tuple(answer._replace(leaving=d) for d in devices))


def _to_vips(asked: Asked, packets: tuple[Packet, ...]) -> Case:
    service = asked.service
    what = f"packets for VIPs of service {service.name!r}"
    if service.features.local:
        family = "ip" if asked.vip.version == 4 else "ip6"
        words = f"{family} daddr RANGE accept", "-d RANGE -j ACCEPT"
        return Case(what, packets, FIRST, MARKED, *words)
    mark = f"{service.fwmark:#x}"
    words = f"meta mark {mark} accept", f"-m mark --mark {mark} -j ACCEPT"
    return Case(what, packets, FIRST, TAKEN - 1, *words)


def _to_reals(asked: Asked, sent: Packet) -> Case:
    family = "ip" if sent.version == 4 else "ip6"
    return Case(
        f"what IPVS sends to real servers of service {asked.service.name!r}",
        (sent,),
        FIRST,
        LAST,
        f"{family} daddr {sent.destination} accept",
        f"-d {sent.destination} -j ACCEPT",
    )


def _from_reals(asked: Asked, answers: tuple[Packet, ...]) -> Case:
    return Case(
        f"answers of real servers of service {asked.service.name!r}",
        answers,
        FIRST,
        ANSWERED - 1,
        "ct state established,related accept",
        "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    )


def coming(site: Site, asked: Asked) -> Iterator[Case]:
    """What a client sends, before it is routed: first not tracked, then without a mark."""
    for device in site.devices[asked.vip.version]:
        returns = ways.leads_back(asked.client, device.number) if asked.client else None
        packet = _arriving(site, asked, device)._replace(hook=Hook.PREROUTING, returns=returns)
        marked = None if packet.mark else 0
        for first, last, mark, state in (
            (FIRST, RAW - 1, 0, None),
            (RAW, MANGLED - 1, 0, packet.state),
            (MANGLED, LAST, marked, packet.state),
        ):
            some = (packet._replace(mark=mark, state=state),)
            yield _to_vips(asked, some)._replace(first=first, last=last)


def solicited(site: Site) -> Case:
    """What asks for the director's link-layer address, by IPv6; it is never tracked."""
    packet = Packet(
        Hook.INPUT, 6, ICMP6, sport=SOLICITATION, mark=0, leaving=NOWHERE, state=UNTRACKED
    )
    packets = tuple(packet._replace(arriving=device) for device in site.devices[6])
    words = "meta l4proto ipv6-icmp accept", "-p icmpv6 -j ACCEPT"
    return Case("neighbour solicitations (IPv6)", packets, FIRST, LAST, *words)


def to_director(site: Site, asked: Asked, real: RealServer) -> Case:
    """The first answer to what the director itself has asked; past IPVS it comes from the VIP.

    By dr and tun it does so from the start, and by which device is not known.
    """
    sent = _sent(site, asked, real)._replace(protocol=NUMBERS[asked.port.protocol])
    answer = _answer(site, asked, sent, real)
    answer = answer._replace(hook=Hook.INPUT, leaving=NOWHERE, local=True)
    if asked.service.forward_of(real) is not Forward.NAT:
        answer = answer._replace(source=asked.vip, sport=asked.port.number, arriving=None)
        answer = answer._replace(version=asked.vip.version, state=None)
    return _from_reals(asked, (answer,))._replace(last=TAKEN - 1)


def proxied_to_director(site: Site, asked: Asked) -> Case:
    """The first answer of a proxy to what the director itself has asked."""
    answer = Packet(
        Hook.INPUT,
        asked.vip.version,
        NUMBERS[asked.port.protocol],
        source=asked.vip,
        destination=asked.client,
        sport=asked.port.number,
        arriving=LO,
        leaving=NOWHERE,
        state=ESTABLISHED,
        local=True,
    )
    what = f"answers of the proxy of service {asked.service.name!r}"
    return _from_reals(asked, (_tracked(site, answer),))._replace(what=what, last=LAST)


def error(site: Site, asked: Asked) -> Case:
    """Of a host on the way to a client."""
    version = asked.vip.version
    arriving = [_arriving(site, asked, device) for device in site.devices[version]]
    packets = [packet._replace(protocol=ICMP[version], dport=None) for packet in arriving]
    case = _to_vips(asked, tuple(p._replace(source=None, state=None) for p in packets))
    return case._replace(what=f"ICMP errors for VIPs of service {asked.service.name!r}")


def _arriving(site: Site, asked: Asked, device: Device) -> Packet:
    service = asked.service
    packet = Packet(
        Hook.INPUT,
        asked.vip.version,
        NUMBERS[asked.port.protocol],
        source=asked.client,
        destination=asked.vip,
        dport=asked.port.number,
        mark=0 if service.features.local else service.fwmark,
        arriving=device,
        leaving=NOWHERE,
        state=NEW,
        local=service.features.local or asked.own,
        anycast=asked.anycast,
    )
    return _tracked(site, packet)


def _sent(site: Site, asked: Asked, real: RealServer) -> Packet:
    """What IPVS makes of a client's first packet."""
    toward = ways.device_to(real.address)
    leaving = None if toward is None else Device(toward, ways.name_of(toward))
    packet = Packet(
        Hook.OUTPUT,
        asked.vip.version,
        NUMBERS[asked.port.protocol],
        source=asked.client,
        dport=real.port or asked.port.number,
        arriving=NOWHERE,
        leaving=leaving,
        state=NEW if site.tracked else UNTRACKED,
    )
    way = asked.service.forward_of(real)
    if way is Forward.TUN:
        outer = packet._replace(version=real.address.version, destination=real.address)
        outer = outer._replace(source=None, protocol=None, dport=None, state=NEW)
        return _tracked(site, outer)
    to = real.address if way is Forward.NAT else asked.vip
    return _tracked(site, packet._replace(destination=to))


def _answer(site: Site, asked: Asked, sent: Packet, real: RealServer) -> Packet:
    """The first answer to what was sent to a real server by nat; it may leave by any device."""
    untracked = INVALID if sent.protocol == NUMBERS["tcp"] else NEW
    answer = Packet(
        Hook.FORWARD,
        sent.version,
        sent.protocol,
        source=real.address,
        destination=asked.client,
        sport=sent.dport,
        mark=0,
        arriving=sent.leaving,
        state=ESTABLISHED if site.tracked else untracked,
    )
    return _tracked(site, answer)


def _tracked(site: Site, packet: Packet) -> Packet:
    """Its state is not known where somebody may have connections of it not tracked."""
    raw = [b for b in site.bases if b.hook is Hook.PREROUTING and b.priority < RAW]
    first = packet._replace(hook=Hook.PREROUTING, mark=None, state=None, local=None)
    sure = all(base.untouched(first) for base in raw if packet.version in base.versions)
    return packet if sure else packet._replace(state=None)
