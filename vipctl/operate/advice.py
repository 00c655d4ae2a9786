"""Warnings about a change that is allowed: what else the operator may have to do."""

from collections.abc import Container, Iterator

from vipctl import methods
from vipctl.linux import sysctl
from vipctl.operate import arrival, checking, filtering, peers
from vipctl.reconcile import lacking
from vipctl.reconcile.acceptance import with_ranges
from vipctl.services.change import Change
from vipctl.services.role import Role
from vipctl.services.service import Service, idle_versions
from vipctl.services.values import Forward
from vipctl.state.store import Store

ACCEPT_LOCAL = "net.ipv4.conf.all.accept_local"
Values = dict[str, str]  # of sysctls


def warnings(store: Store, change: Change, *, done: bool = True) -> Iterator[str]:
    """What the operator should know of the services that were changed, and of the director.

    Before it is `done`: what will be so once it is.
    """
    pending = Change() if done else change
    yield from arrival.findings(store, pending)
    ranges = with_ranges(store, pending)
    coming = {} if done else _sysctls_to_come(store, change)
    before = {service.name: service.method for service in change.before}
    others = {s.method for s in change.after if before.get(s.name) != s.method}
    for name in sorted(others):
        yield from methods.get(name).probe()
    yield from filtering.findings(store, pending, change.after, coming.get(sysctl.CONNTRACK))
    yield from _overruled(store, change, pending)
    yield from peers.warnings(store, pending, coming)
    yield from _passive(pending.role_after(store.role()), change)
    chosen = lacking.chosen(store, pending)
    for service in change.after:
        yield from _martians(service)
        yield from checking.warnings(store, service)
        yield from _hidden_clients(service, change)
        yield from _refused_versions(service, ranges)
        wanted = {n: v for n, v in sysctl.needed([service]).items() if n not in chosen}
        yield from _unset(service, wanted, coming)


def _refused_versions(service: Service, ranges: Container[tuple[str, int]]) -> Iterator[str]:
    for version in idle_versions(service):
        if (service.name, version) in ranges:
            yield (
                f"service {service.name!r} has IPv{version} ranges and no IPv{version} real "
                f"server: their clients are refused{_cure(service)}"
            )


def _unset(service: Service, wanted: Values, coming: Values) -> Iterator[str]:
    """Sysctls that it needs and that will have other values, where it does not set them itself."""
    if service.set_sysctls:
        return
    missed = {n: v for n, v in sysctl.missed(wanted, [service]).items() if n not in coming}
    missed |= {n: v for n, v in wanted.items() if coming.get(n, v) != v}
    for name, value in missed.items():
        first = sysctl.at_risk() if name == sysctl.FORWARD6 else ()
        listening = "".join(f"{risky}=2 first to keep the default route, " for risky in first)
        yield (
            f"service {service.name!r} needs {name}={value}: set {listening}it, or "
            f"vipctl set-service {service.name} --set-sysctls"
        )


def _passive(role: Role, change: Change) -> Iterator[str]:
    """Where VIPs may be thought to be accepted now, and are not."""
    (old, new), named = change.role, {service.name for service in change.after}
    if role.passive and (named or old.services - new.services):
        yield "this director is passive: what is for its VIPs is dropped until vipctl activate"
        return
    for name in sorted(role.services if old.passive > new.passive else role.services & named):
        yield f"service {name!r} is passive: vipctl activate --service {name}"


def _overruled(store: Store, change: Change, pending: Change) -> Iterator[str]:
    """What services need and the director's settings have otherwise."""
    old, new = change.director
    services = lacking.after(store, pending) if old != new else change.after
    chosen = lacking.chosen(store, pending)
    for service in services:
        for name, value in sysctl.needed([service]).items():
            if chosen.get(name, value) != value:
                yield (
                    f"service {service.name!r} needs {name}={value}, and set-director has made it "
                    f"{chosen[name]}"
                )


def _sysctls_to_come(store: Store, change: Change) -> dict[str, str]:
    """Values that the change will set, or put back."""
    kept, planned = store.sysctls(), lacking.planned_sysctls(store, change)
    back = {name: kept[name][0] for name in kept.keys() - planned.keys()}
    return back | {name: new for name, (_, new) in planned.items()}


def _hidden_clients(service: Service, change: Change) -> Iterator[str]:
    had = {before.name for before in change.before if before.source_nat}
    if service.source_nat and service.name not in had:
        yield (
            f"real servers of service {service.name!r} see the director's address instead of their "
            "clients'; each address has about 64,000 ports toward a real server's port"
        )


def _cure(service: Service) -> str:
    tunnelled = [r for r in service.reals if service.forward_of(r) is Forward.TUN]
    if not tunnelled:
        return ""
    return f" (set-real {service.name} {tunnelled[0].endpoint},family=both: by a tunnel)"


def _martians(service: Service) -> Iterator[str]:
    ways = [service.forward_of(real) for real in service.servers if 4 in real.versions]
    direct = [way for way in ways if way is not Forward.NAT]
    if service.features.local and direct and sysctl.read(ACCEPT_LOCAL) != "1":
        yield (
            f"service {service.name!r}: by method {service.method} VIPs are the director's, which "
            f"drops answers of real servers (--forward {direct[0]}, IPv4) that pass through "
            "it; let them answer without the director, or use --method fwmark"
        )
