"""Whether the director's routing accepts packets for VIPs.

No packet is sent: the kernel is asked which route imagined packets would take. For each device that
the default route uses there is one, and one more for each rule of others that comes before ours.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from itertools import islice
from typing import NamedTuple

from vipctl import files, methods
from vipctl.addresses.few import BITS
from vipctl.addresses.prefixes import IPAddress, address
from vipctl.addresses.spans import Spans
from vipctl.errors import KernelError
from vipctl.linux import netlink
from vipctl.linux.routing import fwmarks, localroutes, rules, ways
from vipctl.linux.routing.localroutes import PROTOCOL, RT_TABLE_LOCAL, RTN_LOCAL
from vipctl.linux.routing.rules import FR_ACT_NOP, Rule
from vipctl.linux.routing.ways import Hop, Own, Packet, Way
from vipctl.operate import owned
from vipctl.reconcile.acceptance import with_ranges
from vipctl.services.change import Change
from vipctl.services.methods import FIRST_PRIORITY
from vipctl.services.service import Service
from vipctl.services.values import Port
from vipctl.state.store import Store

MOST_DEVICES, MOST_RULES, MOST_TARGETS = 8, 32, 64
OF_NO_VRF = (0, 253, 254)  # none, RT_TABLE_DEFAULT and RT_TABLE_MAIN of rtnetlink.h
LOOPBACK_IFINDEX = 1  # include/net/flow.h
# Clients anywhere: to one of these, hopefully, only the default route leads.
SOMEWHERE = {
    4: [address(4, (n << 24) + 0x020304) for n in range(1, 224, 31)],
    6: [address(6, (0x2000 + (n << 8) << 112) + 1) for n in range(0, 32, 5)],
}


class Target(NamedTuple):
    """A VIP, with the mark and the port that its packets have when they are routed."""

    vip: IPAddress
    mark: int
    port: Port


class Astray(NamedTuple):
    """A packet for a VIP that is not accepted, the way it takes, and the rules that lead it."""

    packet: Packet
    way: Way
    guilty: tuple[Rule, ...]


Source = tuple[int, IPAddress]  # the device that a client's packets arrive by, and its address


def findings(store: Store, change: Change) -> Iterator[str]:
    """What keeps packets for VIPs from being accepted, and VIPs that are the director's own.

    `change` is one that is still to be made, if any.
    """
    try:
        own = ways.own()
        yield from owned.told(store, own)
        yield from (_words(*one) for one in astray(store, change, own))
    except KernelError as e:
        yield f"whether packets for VIPs arrive could not be found out: {e.message}"


def astray(store: Store, change: Change, own: list[Own]) -> Iterator[Astray]:
    """Packets that are not accepted, one for each cause and device. Raises KernelError."""
    accepted = list(_accepted(store, change))
    if not accepted or change.role_after(store.role()).passive:
        return
    present = rules.read()
    hops = ways.defaults(ways.tables_of(present))
    for version, table, services in accepted:
        ahead = rules_ahead(present, version, table)
        vips = Vips(store, change, version)
        targets = dict.fromkeys(_targets(vips, table, services, ahead.rules))
        found = sources(version, hops, own)
        yield from _lost(list(targets)[:MOST_TARGETS], found, ahead)


def _accepted(store: Store, change: Change) -> Iterator[tuple[int, int, list[Service]]]:
    """For each method and IP version in use: version, table that makes VIPs local, services."""
    services = {**store.services(), **{service.name: service for service in change.after}}
    found: dict[tuple[str, int], list[Service]] = {}
    for name, version in sorted(with_ranges(store, change)):
        found.setdefault((services[name].method, version), []).append(services[name])
    for (method, version), accepted in sorted(found.items()):
        if table := methods.get(method).LOCAL:
            yield version, table, accepted


class Ahead(NamedTuple):
    """Others' rules before our last one that makes VIPs local; `complete` if that is there yet."""

    rules: list[Rule]
    complete: bool


def rules_ahead(present: Iterable[Rule], version: int, table: int) -> Ahead:
    found = [rule for rule in present if rule.version == version]
    ours = [n for n, rule in enumerate(found) if rule.table == table]
    before = found[: ours[-1]] if ours else [r for r in found if r.priority < FIRST_PRIORITY]
    foreign = [r for r in before if r.protocol != PROTOCOL and r.table != RT_TABLE_LOCAL]
    return Ahead([r for r in foreign if r.action != FR_ACT_NOP][:MOST_RULES], bool(ours))


def _targets(
    vips: "Vips", table: int, services: Iterable[Service], ahead: Iterable[Rule]
) -> Iterator[Target]:
    """One VIP for each of our rules, and one more for each rule that comes before."""
    groups: dict[tuple[int, int], list[Service]] = {}
    for service in services:
        groups.setdefault(fwmarks.selector(service.fwmark), []).append(service)
    for rule in (None, *ahead):
        for group in groups.values():
            if found := vips.matching(rule, group):
                vip, service = found
                port = service.ports[0] if service.ports else Port("tcp", 0)
                yield Target(vip, 0 if table == RT_TABLE_LOCAL else service.fwmark, port)


class Vips(NamedTuple):
    """The VIPs of one IP version, with those that a change adds."""

    store: Store
    change: Change
    version: int

    def matching(
        self, rule: Rule | None, services: Iterable[Service]
    ) -> tuple[IPAddress, Service] | None:
        """A VIP that the rule may match, and its service; for None, any VIP."""
        marked = {
            s.name: s for s in services if not rule or rule.inverted or rule.has_mark(s.fwmark)
        }
        if rule and rule.destination and not rule.inverted:
            network = rule.destination.network
            low, high = int(network.network_address), int(network.broadcast_address)
            held = self.store.touching(Spans.from_pairs(self.version, [(low, high)]))
        else:
            low, high = 0, (1 << BITS[self.version]) - 1
            marked = dict(islice(marked.items(), 1))
            held = {p: s for n in marked for p, s in self.store.outermost(n, self.version).items()}
        for place, spans in (*held.items(), *self.change.taken.items()):
            if place.service in marked and place.version == self.version:
                for first, last in spans:
                    if first <= high and last >= low:
                        return address(self.version, max(first, low)), marked[place.service]
        return None


def sources(version: int, hops: Iterable[Hop], own: Iterable[Own]) -> list[Source]:
    """A remote client for each device of a default route; without such a route, neighbours."""
    mine = {found.address for found in own}
    leading = {hop.device: hop for hop in hops if hop.version == version}
    if not leading:
        return _neighbours([o for o in own if o.address.version == version], mine)[:MOST_DEVICES]
    anywhere = _anywhere(version, mine)
    return [(d, anywhere or _nearest(hop)) for d, hop in sorted(leading.items())][:MOST_DEVICES]


def _anywhere(version: int, mine: set[IPAddress]) -> IPAddress | None:
    """An address that the kernel reaches by a default route; None if there is none."""
    with netlink.connect() as link:
        for found in SOMEWHERE[version]:
            if found not in mine and localroutes.best_length(link, found) == 0:
                return found
    return None


def _nearest(hop: Hop) -> IPAddress:
    """A client for a device when other routes cover all of SOMEWHERE: its gateway if possible."""
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


def _lost(targets: Iterable[Target], sources: Iterable[Source], ahead: Ahead) -> Iterator[Astray]:
    told = set[tuple[object, ...]]()
    with netlink.connect() as link:
        for device, client in sources:
            for target in targets:
                packet = Packet(client, device, *target)
                way = ways.taken_by(link, packet)
                guilty = guilty_rules(packet, way, ahead)
                cause = device, way.failure, guilty
                if not arrives(way) and cause not in told and (guilty or ahead.complete):
                    told.add(cause)
                    yield Astray(packet, way, guilty)


def arrives(way: Way) -> bool:
    """Whether a packet is accepted, by whatever table; table `local` has the director's addresses.

    One from a device that has just gone counts as accepted.
    """
    return way.kind == RTN_LOCAL or way.table == RT_TABLE_LOCAL or way.failure == errno.ENODEV


def guilty_rules(packet: Packet, way: Way, ahead: Ahead) -> tuple[Rule, ...]:
    """The rule that leads to the table of the way; if that is not clear, all that may match."""
    matching = tuple(rule for rule in ahead.rules if _may_match(rule, packet))
    leading = [r for r in matching if r.table == way.table and not r.l3mdev()]
    if way.table not in OF_NO_VRF:
        leading = leading or [r for r in matching if r.l3mdev()]
    return tuple(leading[:1]) or (matching if ahead.complete else ())


def _may_match(rule: Rule, packet: Packet) -> bool:
    """Whether the rule matches, as far as can be told without the kernel."""
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
        return files.text(f"/proc/sys/net/ipv4/conf/{device}/{name}").strip()
    except OSError:
        return "0"
