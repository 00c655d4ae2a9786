"""Whether somebody's firewall on the director is sure to drop packets of services, and which chain.

What some rule may accept is not named, nor what another rule of such a chain hides.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vipctl.addresses.prefixes import VERSIONS
from vipctl.errors import VipctlError
from vipctl.linux import filters, sysctl
from vipctl.linux.filters.packet import Device, Hook
from vipctl.linux.filters.walk import Base
from vipctl.linux.routing import rules, ways
from vipctl.operate import passing
from vipctl.operate.arrival import Vips, sources
from vipctl.operate.passing import Asked, Case, Site
from vipctl.reconcile.acceptance import with_ranges
from vipctl.services.change import Change
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.services.values import Port
from vipctl.state.store import Store

MOST = 32  # services
SAMPLE = Port("tcp", 80)  # of a service that has every port
PAGE = "docs/firewall.md"


class Dropped(NamedTuple):
    """What a chain is sure to drop, of how many services beside the one that is named."""

    base: Base
    says: str
    cure: str
    others: int = 0


def findings(
    store: Store, change: Change, services: Iterable[Service], conntrack: str | None = None
) -> Iterator[str]:
    """Which chains drop packets of these services. The change is not made yet."""
    try:
        for one in dropped(store, change, services, conntrack):
            more = f" (and of {one.others} more services)" if one.others else ""
            yield f"{one.says}: {one.cure}; see {PAGE}{more}"
    except VipctlError as e:
        yield f"whether a firewall drops packets for VIPs could not be found out: {e.message}"


def dropped(
    store: Store, change: Change, services: Iterable[Service], conntrack: str | None = None
) -> Iterator[Dropped]:
    """Once for each chain and kind of packet. Raises VipctlError."""
    found = filters.bases()
    if not any(base.hook in (Hook.INPUT, Hook.FORWARD, Hook.OUTPUT) for base in found):
        return
    tracked = (conntrack or sysctl.read(sysctl.CONNTRACK)) == "1"
    site, some = Site(tracked, found, _devices()), list(services)[:MOST]
    yield from _told(site, _asked(store, change, some))


def errors_dropped(
    store: Store, change: Change, services: Iterable[Service]
) -> Iterator[tuple[Base, Case]]:
    """Chains that are sure to drop ICMP errors for VIPs, whatever connection these are of.

    Once for each chain. Raises VipctlError.
    """
    site, told = Site(False, list(filters.bases()), _devices()), set[str]()
    for one in _asked(store, change, list(services)[:MOST]):
        for base, place in losing(site.bases, case := passing.error(site, one)):
            if place and base.title not in told:
                told.add(base.title)
                yield base, case


def _told(site: Site, asked: Iterable[Asked]) -> Iterator[Dropped]:
    told: dict[tuple[str, str], tuple[Dropped, list[str]]] = {}
    for one in asked:
        name = one.service.name
        for case in passing.cases(site, one):
            for base, place in losing(site.bases, case):
                found = Dropped(base, dropping(base, place, case), cure(site, base, place, case))
                names = told.setdefault((base.title, case.what), (found, []))[1]
                names += [name] if name not in names else []
    for found, (_, *others) in told.values():
        yield found._replace(others=len(others))


def losing(bases: Iterable[Base], case: Case) -> Iterator[tuple[Base, str]]:
    """Chains that drop it, whichever way it comes."""
    for base in seeing(bases, case):
        places = [base.loses(p) if base.sees(p) else "" for p in case.packets]
        if all(places) and places:
            yield base, places[0]


def seeing(bases: Iterable[Base], case: Case) -> Iterator[Base]:
    """Chains that see it so."""
    for base in bases:
        if case.first <= base.priority <= case.last and any(map(base.sees, case.packets)):
            yield base


def _asked(store: Store, change: Change, services: Iterable[Service]) -> Iterator[Asked]:
    """For each service and IP version, the first VIP and port, and a real server for all."""
    ranges = with_ranges(store, change)
    for version in VERSIONS:
        for service in services:
            found = Vips(store, change, version).matching(None, [service])
            if found is not None and (service.name, version) in ranges:
                port = service.ports[0] if service.ports else SAMPLE
                yield Asked(service, found[0], port, first_real(service, version))


def first_real(service: Service, version: int) -> RealServer | None:
    """One that serves VIPs of an IP version, for all of them."""
    reals = service.reals if service.balanced else ()
    return next((real for real in reals if version in real.versions), None)


def _devices() -> dict[int, list[Device]]:
    hops, own = ways.defaults(ways.tables_of(rules.read())), ways.own()
    return {
        version: [Device(n, ways.name_of(n)) for n, _ in sources(version, hops, own)]
        for version in VERSIONS
    }


def dropping(base: Base, place: str, case: Case) -> str:
    inner = "" if place == base.chain else f" (in {place})"
    return f"chain {base.title}{inner} drops {case.what}"


def cure(site: Site, base: Base, place: str, case: Case) -> str:
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
