"""What the director's links have to do with VIPs; much of it is to be seen on other hosts."""

from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from vipctl.addresses.spans import Spans
from vipctl.diagnosis.director.site import Site
from vipctl.diagnosis.steps import Step, ill, unknown, well
from vipctl.linux import devices, sysctl
from vipctl.linux.routing import rules, ways
from vipctl.linux.routing.ways import Own
from vipctl.operate.peers import LOOSE
from vipctl.services.real import RealServer
from vipctl.services.values import Forward

MOST = 32  # real servers
LOST = ("fwmark", "fwmark-iptables")  # with which the kernel cannot send ICMP errors of IPv4


def neighbours(site: Site) -> Iterator[Step]:
    """VIPs in a subnet of the director's: hosts there ask for them by ARP."""
    name = "links"
    answering = {s.name for s in site.services if s.features.local and not s.silent}
    for own in ways.own():
        if not (_is_shared(own) and (held := _held(site, own) - answering)):
            continue
        network = ip_network((own.address, own.length), strict=False)
        device = ways.name_of(own.device)
        says = (
            f"service {min(held)!r} has VIPs in {network} of {device}: hosts there need a route to "
            "the director for them, as nobody answers ARP; whether they have one cannot be told"
        )
        yield unknown(name, says, "on the router: ip route get VIP")


def _is_shared(own: Own) -> bool:
    a = own.address
    return not (a.is_loopback or a.is_link_local) and own.length < a.max_prefixlen


def _span(own: Own) -> tuple[int, int]:
    network = ip_network((own.address, own.length), strict=False)
    return int(network.network_address), int(network.broadcast_address)


def _held(site: Site, own: Own) -> set[str]:
    """The services with VIPs there."""
    low, high = _span(own)
    found = site.store.touching(Spans.from_pairs(own.address.version, [(low, high)]))
    return {
        place.service
        for place, spans in found.items()
        if any(first <= high and last >= low for first, last in spans)
    }


def sizes(site: Site) -> Iterator[Step]:
    """Where the way to real servers is narrower than that from clients."""
    arriving = [m for hop in _defaults() if (m := devices.mtu(ways.name_of(hop)))]
    for real in _translated(site) if arriving else ():
        device = ways.device_to(real.address)
        room = devices.mtu(ways.name_of(device)) if device else None
        if room and room < max(arriving):
            says = (
                f"packets over {room} bytes for {real.address} are lost unless clients keep below "
                "(README, ICMP errors); whether TCP's segment size is clamped is not looked at"
            )
            yield unknown("sizes", says, f"ip route get {real.address}; ip link")
            return


def _defaults() -> set[int]:
    hops = ways.defaults(ways.tables_of(rules.read()))
    return {hop.device for hop in hops if hop.version == 4}


def _translated(site: Site) -> Iterable[RealServer]:
    """Some of those by nat and dr, to which the kernel sends packets as they are."""
    found = [
        real
        for service in site.services
        for real in service.servers
        if service.method in LOST
        and real.address.version == 4
        and service.forward_of(real) is not Forward.TUN
    ]
    return list(dict.fromkeys(found))[:MOST]


def gateways(site: Site) -> Iterator[Step]:
    """Packets for real servers by dr are still for the VIP, wherever they come."""
    direct = dict.fromkeys(
        real.address
        for service in site.services
        for real in service.servers
        if service.forward_of(real) is Forward.DR
    )
    for address in list(direct)[:MOST]:
        if gateway := ways.gateway_to(address):
            says = f"{gateway} gets packets for VIPs, and has to lead them to {address} (dr)"
            yield unknown("gateways", says, f"ip route get {address}")
            return


def sync(site: Site) -> Iterator[Step]:
    """Connections that another director began."""
    if site.store.sync() is None or (value := sysctl.read(LOOSE)) is None:
        return
    if value == "0":
        says = f"{LOOSE} is 0: connection tracking refuses what another director began"
        yield ill("sync", "conntrack-strict", says, f"sysctl -w {LOOSE}=1", f"sysctl {LOOSE}")
    else:
        yield well("sync", "connections that another director began are tracked", f"sysctl {LOOSE}")
