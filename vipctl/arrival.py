"""Whether packets for VIPs arrive, as far as the director's routing goes.

The kernel is asked which way packets would take that nobody has sent: one by each device that the
default route uses, and one more for each rule of somebody else's that is looked at before ours.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from vipctl import localroutes, methods, netlink, routing, rules, ways
from vipctl.errors import KernelError
from vipctl.localroutes import PROTOCOL, RT_TABLE_LOCAL, RTN_LOCAL
from vipctl.model import Port, Service
from vipctl.prefixes import VERSIONS, IPAddress, address
from vipctl.rules import FR_ACT_NOP, Rule
from vipctl.spans import Spans
from vipctl.store import FEW, Store
from vipctl.ways import Hop, Own, Packet, Way

MOST_DEVICES, MOST_RULES, MOST_TARGETS = 8, 32, 64
LOOPBACK_IFINDEX = 1  # include/net/flow.h
# Anywhere: one of them is hoped to be where only the default route leads.
SOMEWHERE = {
    4: [address(4, (n << 24) + 0x020304) for n in range(1, 224, 31)],
    6: [address(6, (0x2000 + (n << 8) << 112) + 1) for n in range(0, 32, 5)],
}


class Target(NamedTuple):
    """A VIP, and what its packets have where they are routed."""

    vip: IPAddress
    mark: int
    port: Port


Source = tuple[int, IPAddress]  # the device that a client's packets arrive by, and its address


def findings(store: Store) -> Iterator[str]:
    """What keeps packets for VIPs from being accepted, and VIPs that are the director's own."""
    try:
        own = ways.own()
        yield from _own_vips(store, own)
        yield from _astray(store, own)
    except KernelError as e:
        yield f"whether packets for VIPs arrive could not be found out: {e.message}"


def _astray(store: Store, own: list[Own]) -> Iterator[str]:
    services = list(_accepted(store))
    if not services:
        return
    present = rules.steady(lambda: list(rules.read()))
    hops = ways.defaults(ways.tables_of(present))
    for version, table, accepted in services:
        ahead = _ahead(present, version, table)
        targets = islice(_targets(store, version, table, accepted, ahead), MOST_TARGETS)
        yield from _lost(list(targets), _sources(version, hops, own), ahead)


def _own_vips(store: Store, own: Iterable[Own]) -> Iterator[str]:
    for version in VERSIONS:
        mine = sorted({int(o.address) for o in own if _may_be_vip(o.address, version)})
        taken: dict[str, set[int]] = {}
        for at in range(0, len(mine), FEW):
            some = mine[at : at + FEW]
            held = store.touching(Spans.from_pairs(version, [(n, n) for n in some]))
            for place, spans in held.items():
                taken.setdefault(place.service, set()).update(filter(spans.holds, some))
        for service, found in sorted(taken.items()):
            if found:
                yield _told([address(version, n) for n in sorted(found)], service)


def _may_be_vip(mine: IPAddress, version: int) -> bool:
    return mine.version == version and not (mine.is_loopback or mine.is_link_local)


def _told(taken: list[IPAddress], service: str) -> str:
    are = f"{taken[0]}, an address of this director, is a VIP"
    if len(taken) > 1:
        are = f"{taken[0]} and {len(taken) - 1} more, addresses of this director, are VIPs"
    return (
        f"{are} of service {service!r}, which gets what is sent to the director there: "
        f"vipctl remove-range {taken[0]} --service {service}"
    )


def _accepted(store: Store) -> Iterator[tuple[int, int, list[Service]]]:
    """By method and IP version: the table that makes VIPs local, and services that have some."""
    services, names = store.services(), dict[tuple[str, int], set[str]]()
    for name, shape, _ in store.tallies():
        names.setdefault((services[name].method, shape.version), set()).add(name)
    for (method, version), found in sorted(names.items()):
        if table := methods.get(method).LOCAL:
            yield version, table, [services[name] for name in sorted(found)]


def _ahead(present: Iterable[Rule], version: int, table: int) -> list[Rule]:
    """Rules of others that come before the last one that makes VIPs local."""
    found = [rule for rule in present if rule.version == version]
    last = max((n for n, rule in enumerate(found) if rule.table == table), default=0)
    return [
        rule
        for rule in found[:last]
        if rule.protocol != PROTOCOL and rule.table != RT_TABLE_LOCAL and rule.action != FR_ACT_NOP
    ][:MOST_RULES]


def _targets(
    store: Store, version: int, table: int, services: Iterable[Service], ahead: Iterable[Rule]
) -> Iterator[Target]:
    """For each of our rules one VIP, and one more for each rule that is looked at before."""
    groups: dict[tuple[int, int], list[Service]] = {}
    for service in services:
        groups.setdefault(routing.selector(service.fwmark), []).append(service)
    for group in groups.values():
        for rule in (None, *ahead):
            if found := _vip(store, version, group, rule):
                vip, service = found
                port = service.ports[0] if service.ports else Port("tcp", 0)
                yield Target(vip, 0 if table == RT_TABLE_LOCAL else service.fwmark, port)


def _vip(
    store: Store, version: int, services: Iterable[Service], rule: Rule | None
) -> tuple[IPAddress, Service] | None:
    """One that the rule may match."""
    marked = [s for s in services if not rule or rule.inverted or rule.has_mark(s.fwmark)]
    if not marked:
        return None
    if rule is None or rule.inverted or not rule.destination:
        ends = store.outermost(marked[0].name, version).values()
        return address(version, min(spans[0][0] for spans in ends)), marked[0]
    network = rule.destination.network
    low, high = int(network.network_address), int(network.broadcast_address)
    by_name = {service.name: service for service in marked}
    for place, spans in store.touching(Spans.from_pairs(version, [(low, high)])).items():
        for first, last in spans:
            if place.service in by_name and first <= high and last >= low:
                return address(version, max(first, low)), by_name[place.service]
    return None


def _sources(version: int, hops: Iterable[Hop], own: Iterable[Own]) -> list[Source]:
    """Clients anywhere, by each device of a default route; where there is none, neighbours."""
    mine = {found.address for found in own}
    leading = {hop.device: hop for hop in hops if hop.version == version}
    if not leading:
        return _neighbours([o for o in own if o.address.version == version], mine)[:MOST_DEVICES]
    anywhere = _anywhere(version, mine)
    return [(d, anywhere or _nearest(hop)) for d, hop in sorted(leading.items())][:MOST_DEVICES]


def _anywhere(version: int, mine: set[IPAddress]) -> IPAddress | None:
    """An address that the kernel would look for by the default route."""
    with netlink.connect() as link:
        for found in SOMEWHERE[version]:
            if found not in mine and localroutes.best_length(link, found) == 0:
                return found
    return None


def _nearest(hop: Hop) -> IPAddress:
    """Where other routes lead everywhere."""
    if hop.gateway and hop.gateway.version == hop.version:
        return hop.gateway
    return SOMEWHERE[hop.version][0]


def _neighbours(own: Iterable[Own], mine: set[IPAddress]) -> list[Source]:
    found: dict[int, IPAddress] = {}
    for device, mine_there, length in own:
        if device not in {LOOPBACK_IFINDEX, *found} and not mine_there.is_link_local:
            network = ip_network((mine_there, length), strict=False)
            hosts = (address(network.version, int(host)) for host in network.hosts())
            if host := next((h for h in islice(hosts, len(mine) + 1) if h not in mine), None):
                found[device] = host
    return sorted(found.items())


def _lost(targets: Iterable[Target], sources: Iterable[Source], ahead: list[Rule]) -> Iterator[str]:
    """Once for each cause and device."""
    told = set[tuple[object, ...]]()
    with netlink.connect() as link:
        for device, client in sources:
            for target in targets:
                packet = Packet(client, device, *target)
                way = ways.taken_by(link, packet)
                guilty = _guilty(packet, way, ahead)
                cause = device, way.failure, guilty
                if not _arrives(way) and cause not in told:
                    told.add(cause)
                    yield _words(packet, way, guilty)


def _arrives(way: Way) -> bool:
    """Also by a table of somebody else's; table `local` has the director's own addresses.

    A device that has just gone is no matter.
    """
    return way.kind == RTN_LOCAL or way.table == RT_TABLE_LOCAL or way.failure == errno.ENODEV


def _guilty(packet: Packet, way: Way, ahead: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rule that leads to the table; where that is not known, all that may be it."""
    matching = tuple(rule for rule in ahead if _may_match(rule, packet))
    if not way.table:
        return matching
    leading = [r for r in matching if r.table == way.table] or [r for r in matching if r.l3mdev()]
    return tuple(leading[:1]) or matching


def _may_match(rule: Rule, packet: Packet) -> bool:
    """As far as can be told without the kernel."""
    matches = (
        (not rule.source or packet.client in rule.source.network)
        and (not rule.destination or packet.vip in rule.destination.network)
        and (not rule.iif or rule.iif == ways.name_of(packet.device))
        and rule.has_mark(packet.mark)
    )
    return rule.inverted or matches


def _words(packet: Packet, way: Way, guilty: tuple[Rule, ...]) -> str:
    device = ways.name_of(packet.device)
    lost = f"packets for {packet.vip} that arrive by {device} are not accepted"
    if guilty:
        rules = " or ".join(f"`{rule}`" for rule in guilty)
        return f"{rules} comes before vipctl's rules: {lost}"
    if way.failure in (errno.EINVAL, errno.EXDEV):
        return f"{lost} from {packet.client}: {_refused_source(device)}"
    asked = f"ip route get {packet.vip} from {packet.client} iif {device} mark {packet.mark:#x}"
    where = f"table {way.table} leads elsewhere" if way.table else os.strerror(way.failure)
    return f"{lost}: {where}; look at `{asked}`"


def _refused_source(device: str) -> str:
    filters = [_conf(name, "rp_filter") for name in ("all", device)]
    if max(filters) == "1":
        return (
            "the director would answer by another device, and strict source validation is on: "
            f"sysctl -w net/ipv4/conf/{device}/rp_filter=2, or have one way in and out"
        )
    return (
        "their source is not valid to the kernel (rp_filter, src_valid_mark, or no way back): "
        f"see net.ipv4.conf.{device} and ip route get"
    )


def _conf(device: str, name: str) -> str:
    try:
        return Path("/proc/sys/net/ipv4/conf", device, name).read_text().strip()
    except OSError:
        return "0"
