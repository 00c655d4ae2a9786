"""Whom the checks of all services ask, the way there through IPVS, and the way of the answers."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

from vipctl.addresses.prefixes import VERSIONS, IPAddress, address
from vipctl.linux import answers
from vipctl.linux.ipvs import paths
from vipctl.services.service import Service
from vipctl.state.store import Store

if TYPE_CHECKING:
    from vipctl.health.judging import Question

MOST_ASKED = 64  # real servers of a service


def asked(store: Store) -> "list[Question]":
    """Has IPVS have the ways of checks through VIPs, and no others. Raises as `paths.sync`."""
    from vipctl.probing.targets import questions

    services = store.services().values()
    used = {service.fwmark for service in services}
    vips = {(s.name, v): vip(store, s, v) for s in services if s.checks for v in VERSIONS}
    wanted = paths.wanted(services)
    return list(questions(services, vips, paths.sync(wanted, store.token(), used)))


def forget(store: Store) -> None:
    """Removes those ways."""
    paths.sync((), store.token())


def vip(store: Store, service: Service, version: int) -> IPAddress | None:
    """The first VIP of the service and IP version, if it has any."""
    held = store.outermost(service.name, version).values()
    firsts = [first for spans in held for first, _ in spans]
    return address(version, min(firsts)) if firsts else None


def warnings(store: Store, service: Service) -> Iterator[str]:
    """Why checks of the service would be answered by nobody, however well its servers work."""
    if any(check.kind == "dns" for check in service.checks) and not find_spec("dns"):
        from vipctl.probing.names import LACKING

        yield f"service {service.name!r}: check dns needs {LACKING}"
    if service.feeds_back and service.agent is None:
        yield (
            f"service {service.name!r}: --feedback load without --agent only guards against real "
            "servers that fail fast, as nothing tells their load"
        )
    yield from _unheard(store, service)


def _unheard(store: Store, service: Service) -> Iterator[str]:
    """Why answers that come from a VIP would be dropped; once for each reason."""
    found = dict[str, IPAddress]()
    for version, real in paths.wanted([service])[:MOST_ASKED]:
        asked_by = vip(store, service, version)
        if asked_by and (why := answers.refused(asked_by, real.address)):
            found.setdefault(why, real.address)
    for why, real_address in found.items():
        yield (
            f"service {service.name!r}: checks through a VIP cannot tell whether {real_address} "
            f"works: {why}; or --check-via rip"
        )
