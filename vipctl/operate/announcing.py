"""Snippets with which BIRD, FRR or keepalived lead the stored ranges to this director."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from vipctl import files
from vipctl.announcing import routes as announced
from vipctl.announcing.local import Local, Preference, made
from vipctl.announcing.routes import Routes
from vipctl.errors import Refused, UsageError
from vipctl.files import Where
from vipctl.operate import safety
from vipctl.services.change import all_of
from vipctl.services.director import Director
from vipctl.services.service import Service
from vipctl.services.values import Forward
from vipctl.state.directory import lock
from vipctl.state.store import Store

USUAL = "/etc/vipctl/ha.yml"
Source = Callable[[], "Snippet"]


class Snippet(NamedTuple):
    text: str
    routes: Routes
    warnings: list[str]

    def report(self) -> dict[str, Any]:
        return {
            "snippet": self.text,
            "routes": list(self.routes.covered.prefixes()),
            "addresses_of_no_service": self.routes.extra.size(),
            "warnings": self.warnings,
        }


class Configured(NamedTuple):
    """What BIRD has taken; with `check`, what it would be asked to take."""

    snippet: Snippet
    file: Path
    before: str
    answer: str
    check: bool

    @property
    def changed(self) -> bool:
        return self.before != self.snippet.text

    def report(self, *, diff: bool) -> dict[str, Any]:
        number = self.snippet.routes.covered.count()
        what = f"{self.file} has {number:,} route{'' if number == 1 else 's'}"
        what += f"; BIRD says: {self.answer}" if self.answer else ""
        found = self.snippet.report() | {
            "changed": self.changed,
            "check": self.check,
            "changes": [{"what": what, "services": []}] if self.changed else [],
            "idle": "" if self.changed else what,
            "file": str(self.file),
            "answer": self.answer,
        }
        shown = {"diff": {"before": self.before, "after": self.snippet.text}}
        return found | shown if diff else found


def configured(
    state_dir: Where, made: Source, file: Path, control: str, *, check: bool
) -> Configured:
    """Has BIRD take a snippet from a file. Raises Missing; Refused if BIRD refuses it."""
    from vipctl.operate import bird

    if check:
        return Configured(made(), file, bird.read(file) or "", "", check)
    with lock(state_dir):  # whoever comes last has the ranges of now
        found, before = made(), bird.read(file)
        names = [f"vipctl{version}" for version in found.routes.versions()]
        taken = bird.take(found.text, file, control, names)
    if taken.busy:
        found.warnings.append("BIRD is still at work on it: birdc show status")
    return Configured(found, file, before or "", taken.answer, check)


def snippet(
    state_dir: Where, kind: str, file: str | None, given: Mapping[str, Any], most: int
) -> Snippet:
    """`given` are settings of this director that precede those of the file. Raises Refused."""
    local = made({**_of_file(file), **given})
    with Store.read(state_dir) as store:
        services, director = list(store.services().values()), store.director()
        held = all_of(store.held())
    if not held:
        raise Refused("no service has a range", hint="vipctl add-range, then announce it")
    routes = announced.of(held, most)
    _refuse_needed(routes, local, services)
    _refuse_incomplete(kind, routes, local)
    _refuse_many_gateways(local, services)
    text: Callable[[Routes, Local], str] = import_module(f"vipctl.announcing.{kind}").text
    return Snippet(
        text(routes, local), routes, list(_warnings(kind, routes, local, services, director))
    )


def _of_file(file: str | None) -> Mapping[str, Any]:
    """The settings of a file; none if nobody names one and there is not the usual one."""
    if file is None and not files.exists(USUAL):
        return {}
    from vipctl.operate import forms, notation

    path = Path(file or USUAL)
    return forms.local(path, notation.parse(path, notation.read(path)))


def _refuse_needed(routes: Routes, local: Local, services: Iterable[Service]) -> None:
    """Raises Refused if addresses that no service has are announced, and somebody else has them."""
    if not routes.extra:
        return
    routers = {n.address for n in local.neighbors} | {hop.ip for hop in local.next_hops}
    for owner, addresses in (*safety.precious(services), ("a router's", routers)):
        for found in sorted(addresses, key=lambda a: (a.version, int(a))):
            if found in routes.extra:
                raise Refused(
                    f"the routes would hold {found}, {owner}, which is no VIP",
                    hint="allow more of them, which then hold less: --max-routes",
                )


def _refuse_incomplete(kind: str, routes: Routes, local: Local) -> None:
    if kind == "keepalived":
        _refuse_without_hop(routes, local)
        if local.gateways and not local.gateway_interface:
            raise UsageError("--gateway has no interface", hint="add --gateway-interface DEVICE")
    elif local.neighbors and not local.local_as:
        raise UsageError("--neighbor needs the director's own AS", hint="add --local-as AS")


def _refuse_without_hop(routes: Routes, local: Local) -> None:
    if local.preference is Preference.EQUAL:
        raise UsageError(
            "with keepalived one director gets the packets, not all of them",
            hint="--preference primary or backup; or --print bird or frr",
        )
    if not local.interface:
        raise UsageError("keepalived needs an interface", hint="add --interface DEVICE")
    for version in routes.versions():
        hops = [hop for hop in local.next_hops if hop.version == version]
        if not hops:
            example = "10.0.0.100/24" if version == 4 else "fe80::100/64"
            raise UsageError(
                f"there is no next hop for the IPv{version} ranges",
                hint=f"add the address to which the router sends them: --next-hop {example}",
            )
        if version == 6 and not hops[0].is_link_local:
            raise UsageError(
                "VRRP needs a link-local address as the first of IPv6",
                hint="add one: --next-hop fe80::100/64",
            )


def _refuse_many_gateways(local: Local, services: Iterable[Service]) -> None:
    if local.preference is Preference.EQUAL and (names := list(_by_gateway(services))):
        raise Refused(
            f"service {names[0]!r} forwards by nat, and real servers send answers to one gateway, "
            "not to the director that the router chose",
            hint="use --forward dr or tun, or --source-nat; or --preference primary and backup",
        )


def _by_gateway(services: Iterable[Service]) -> Iterator[str]:
    """Services whose real servers answer through a gateway, which must be the same director."""
    for service in services:
        if service.balanced and not service.source_nat and service.reals:
            yield from [service.name] * (Forward.NAT in service.forwards())


def _warnings(
    kind: str, routes: Routes, local: Local, services: list[Service], director: Director
) -> Iterator[str]:
    if kind == "keepalived":
        for name in _by_gateway(services) if not local.gateways else ():
            yield (
                f"service {name!r} forwards by nat: its real servers need a gateway that changes "
                "together with the next hop (--gateway)"
            )
        return
    for version in routes.versions() if local.neighbors else ():
        if not any(n.address.version == version for n in local.neighbors):
            why = f"no --neighbor has an IPv{version} address"
            yield f"nobody is told the IPv{version} routes: {why}"
    if local.preference is Preference.EQUAL:
        yield from _torn(services, director)


def _torn(services: Iterable[Service], director: Director) -> Iterator[str]:
    """Services whose connections do not survive that the router chooses another director."""
    for service in services:
        if service.balanced and not (
            service.scheduler.name == "mh"
            and "port" in service.scheduler.flags
            and director.get("sloppy_tcp")
        ):
            yield (
                f"connections of service {service.name!r} end when the router chooses another "
                "director, unless --scheduler mh,port and set-director --sloppy-tcp yes, or "
                "IPVS's connection sync, say otherwise"
            )
