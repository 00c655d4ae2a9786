"""Whether somebody's firewall on the director is sure to drop packets of services, and which chain.

Looked at is the first packet of a connection, and the first answer, as hooks see them:

    INPUT              from a client to a VIP, with the service's mark; IPVS takes it at priority 99
    OUTPUT             what IPVS sends to a real server
    FORWARD            nat: the answer of a real server; its source is the VIP from 100 on

What some rule may accept is not named, nor what another rule of such a chain hides.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vipctl.addresses.prefixes import VERSIONS, IPAddress
from vipctl.errors import VipctlError
from vipctl.linux import filters, sysctl
from vipctl.linux.filters.packet import (
    ESTABLISHED,
    INVALID,
    NEW,
    NOWHERE,
    UNTRACKED,
    Device,
    Hook,
    Packet,
)
from vipctl.linux.filters.walk import Base
from vipctl.linux.routing import rules, ways
from vipctl.operate.arrival import Vips, sources
from vipctl.reconcile.acceptance import with_ranges
from vipctl.services.change import Change
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.services.values import Forward, Port
from vipctl.state.store import Store

MOST = 32  # services
NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}  # include/uapi/linux/in.h
SAMPLE = Port("tcp", 80)  # of a service that has every port
RAW = -200  # connections are tracked from here on: NF_IP_PRI_CONNTRACK
MARKED, TAKEN, ANSWERED = 96, 99, 100  # at LOCAL_IN: by `route`, by IPVS; at FORWARD
FIRST, LAST = -1000, 1000  # before and behind all priorities that are in use
PAGE = "docs/firewall.md"


class Case(NamedTuple):
    """What is looked at: the same packet by each way that it may come."""

    what: str
    packets: tuple[Packet, ...]
    first: int  # of a chain's priorities that see it so
    last: int
    accepting: str  # a rule, in nft's words and those of iptables
    accepting_legacy: str


class Site(NamedTuple):
    """What all services of a change share."""

    store: Store
    change: Change
    tracked: bool  # net.ipv4.vs.conntrack
    bases: list[Base]
    devices: dict[int, list[Device]]  # that clients' packets arrive by, for each IP version


def findings(
    store: Store, change: Change, services: Iterable[Service], conntrack: str | None = None
) -> Iterator[str]:
    """Which chains drop packets of these services. The change is not made yet."""
    try:
        found = filters.bases()
        if not any(base.hook in (Hook.INPUT, Hook.FORWARD, Hook.OUTPUT) for base in found):
            return
        tracked = (conntrack or sysctl.read(sysctl.CONNTRACK)) == "1"
        yield from _told(Site(store, change, tracked, found, _devices()), list(services)[:MOST])
    except VipctlError as e:
        yield f"whether a firewall drops packets for VIPs could not be found out: {e.message}"


def _told(site: Site, services: Iterable[Service]) -> Iterator[str]:
    """Once for each chain and kind of packet."""
    told: dict[tuple[str, str], tuple[str, list[str]]] = {}
    ranges = with_ranges(site.store, site.change)
    for version in VERSIONS:
        for service in services:
            if (service.name, version) not in ranges:
                continue
            for case in _cases(site, service, version):
                for base, place in _losing(site.bases, case):
                    text = _words(site, base, place, case)
                    names = told.setdefault((base.title, case.what), (text, []))[1]
                    names += [service.name] if service.name not in names else []
    for text, (_, *others) in told.values():
        yield text + (f" (and of {len(others)} more services)" if others else "")


def _losing(bases: Iterable[Base], case: Case) -> Iterator[tuple[Base, str]]:
    """Chains that drop it, whichever way it comes."""
    for base in bases:
        if case.first <= base.priority <= case.last:
            places = [base.loses(p) if base.sees(p) else "" for p in case.packets]
            if all(places) and places:
                yield base, places[0]


def _cases(site: Site, service: Service, version: int) -> Iterator[Case]:
    found = Vips(site.store, site.change, version).matching(None, [service])
    if found is None:
        return
    vip, devices = found[0], site.devices[version]
    arriving = tuple(_arriving(site, service, vip, device) for device in devices)
    yield _to_vips(service, version, arriving)
    real = first_real(service, version)
    if real is None:
        return
    sent = _sent(site, service, real, vip)
    yield _to_reals(service, sent)
    if service.forward_of(real) is Forward.NAT:
        answer = _answer(site, sent, real)
        yield _from_reals(service, tuple(answer._replace(leaving=d) for d in devices))


def _to_vips(service: Service, version: int, packets: tuple[Packet, ...]) -> Case:
    what = f"packets for VIPs of service {service.name!r}"
    if service.features.local:
        family = "ip" if version == 4 else "ip6"
        words = f"{family} daddr RANGE accept", "-d RANGE -j ACCEPT"
        return Case(what, packets, FIRST, MARKED, *words)
    mark = f"{service.fwmark:#x}"
    words = f"meta mark {mark} accept", f"-m mark --mark {mark} -j ACCEPT"
    return Case(what, packets, FIRST, TAKEN - 1, *words)


def _to_reals(service: Service, sent: Packet) -> Case:
    family = "ip" if sent.version == 4 else "ip6"
    return Case(
        f"what IPVS sends to real servers of service {service.name!r}",
        (sent,),
        FIRST,
        LAST,
        f"{family} daddr {sent.destination} accept",
        f"-d {sent.destination} -j ACCEPT",
    )


def _from_reals(service: Service, answers: tuple[Packet, ...]) -> Case:
    return Case(
        f"answers of real servers of service {service.name!r}",
        answers,
        FIRST,
        ANSWERED - 1,
        "ct state established,related accept",
        "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    )


def first_real(service: Service, version: int) -> RealServer | None:
    """One that serves VIPs of an IP version, for all of them."""
    reals = service.reals if service.balanced else ()
    return next((real for real in reals if version in real.versions), None)


def _arriving(site: Site, service: Service, vip: IPAddress, device: Device) -> Packet:
    port = service.ports[0] if service.ports else SAMPLE
    packet = Packet(
        Hook.INPUT,
        vip.version,
        NUMBERS[port.protocol],
        destination=vip,
        dport=port.number,
        mark=0 if service.features.local else service.fwmark,
        arriving=device,
        leaving=NOWHERE,
        state=NEW,
        local=service.features.local,
    )
    return _tracked(site, packet)


def _sent(site: Site, service: Service, real: RealServer, vip: IPAddress) -> Packet:
    """What IPVS makes of a client's first packet."""
    toward = ways.device_to(real.address)
    port = service.ports[0] if service.ports else SAMPLE
    leaving = None if toward is None else Device(toward, ways.name_of(toward))
    packet = Packet(
        Hook.OUTPUT,
        vip.version,
        NUMBERS[port.protocol],
        dport=real.port or port.number,
        arriving=NOWHERE,
        leaving=leaving,
        state=NEW if site.tracked else UNTRACKED,
    )
    way = service.forward_of(real)
    if way is Forward.TUN:
        outer = packet._replace(version=real.address.version, destination=real.address)
        return _tracked(site, outer._replace(protocol=None, dport=None, state=NEW))
    return _tracked(site, packet._replace(destination=real.address if way is Forward.NAT else vip))


def _answer(site: Site, sent: Packet, real: RealServer) -> Packet:
    """The first answer to what was sent to a real server by nat; it may leave by any device."""
    untracked = INVALID if sent.protocol == NUMBERS["tcp"] else NEW
    answer = Packet(
        Hook.FORWARD,
        sent.version,
        sent.protocol,
        source=real.address,
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


def _devices() -> dict[int, list[Device]]:
    hops, own = ways.defaults(ways.tables_of(rules.read())), ways.own()
    return {
        version: [Device(n, ways.name_of(n)) for n, _ in sources(version, hops, own)]
        for version in VERSIONS
    }


def _words(site: Site, base: Base, place: str, case: Case) -> str:
    inner = "" if place == base.chain else f" (in {place})"
    return (
        f"chain {base.title}{inner} drops {case.what}: {_cure(site, base, place, case)}; see {PAGE}"
    )


def _cure(site: Site, base: Base, place: str, case: Case) -> str:
    if place == "ufw-not-local":
        return (
            "in /etc/ufw/before.rules, before `-j ufw-not-local`, add -A ufw-before-input "
            f"{case.accepting_legacy}"
        )
    if base.title.startswith(("iptables-legacy", "ip6tables-legacy")):
        tool, chain = base.title.split()
        return f"{tool} -I {chain} {case.accepting_legacy}"
    tracking = ""
    if case.accepting.startswith("ct ") and not site.tracked:
        tracking = f", with {sysctl.CONNTRACK}=1"
    return f"nft insert rule {base.title} {case.accepting}{tracking}"
