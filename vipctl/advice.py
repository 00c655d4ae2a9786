"""What an operator should know after a change, though nothing is wrong with it."""

from collections.abc import Iterator

from vipctl import methods, routing, sysctl
from vipctl.model import ROUTE, Change, Forward, Service, idle_versions
from vipctl.store import Store

ACCEPT_LOCAL = "net.ipv4.conf.all.accept_local"


def warnings(store: Store, change: Change) -> Iterator[str]:
    """What the operator should know of the services that were changed, and of the director."""
    for rule in routing.ahead():
        yield f"`{rule}` comes before vipctl's rules: VIPs that it matches are not accepted"
    ranges = {(name, shape.version) for name, shape, _ in store.tallies()}
    ranges |= {(place.service, place.version) for place in change.taken}
    before = {service.name: service.method for service in change.before}
    others = {s.method for s in change.after if before.get(s.name) != s.method}
    for name in sorted(others):
        yield from methods.get(name).probe()
    for service in change.after:
        yield from _martians(service)
        for version in idle_versions(service):
            if (service.name, version) in ranges:
                yield (
                    f"service {service.name!r} has IPv{version} ranges and no IPv{version} real "
                    "server: their clients are refused"
                )
        for name, value in sysctl.missed(sysctl.needed([service])).items():
            if not service.set_sysctls:
                yield (
                    f"service {service.name!r} needs {name}={value}: set it, or "
                    f"vipctl set-service {service.name} --set-sysctls"
                )


def _martians(service: Service) -> Iterator[str]:
    direct = service.forward is not Forward.NAT and 4 in service.versions()
    if service.method == ROUTE and direct and sysctl.read(ACCEPT_LOCAL) != "1":
        yield (
            f"service {service.name!r}: with method {ROUTE} VIPs are local to the director, which "
            f"drops answers of real servers (--forward {service.forward}, IPv4) that pass through "
            "it; let them answer without the director, or use --method fwmark"
        )
