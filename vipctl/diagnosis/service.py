"""Which service the packet is for, and whether the director is to accept it."""

from collections.abc import Iterable, Iterator

from vipctl.diagnosis.case import Case, Question
from vipctl.diagnosis.steps import Hint, Step, ill, unknown, well
from vipctl.services import ports
from vipctl.services.change import Entry
from vipctl.services.naming import naturally
from vipctl.services.service import Service
from vipctl.state import runtime

Held = tuple[Service, Entry]


def taking(asked: Question, held: Iterable[Held]) -> Held | None:
    """That of the services with the VIP which takes the port."""
    for service, entry in held:
        if not service.ports or not ports.disjoint(service.ports, (asked.port,)):
            return service, entry
    return None


def none(asked: Question, held: list[Held]) -> Step:
    """What is said where no service takes it."""
    if not held:
        return ill(
            "service",
            "vip-in-no-service",
            f"no service has {asked.vip}",
            f"vipctl add-range {asked.vip} --service NAME",
            f"vipctl lookup {asked.vip}",
        )
    names = sorted((service.name for service, _ in held), key=naturally)
    return ill(
        "service",
        "port-in-no-service",
        f"{' and '.join(names)} {'has' if len(names) == 1 else 'have'} {asked.vip}, "
        f"and not port {asked.port}",
        f"vipctl add-port {names[0]} {asked.port}",
        f"vipctl lookup {asked.vip}",
    )


def steps(case: Case) -> Iterator[Step]:
    service, asked = case.service, case.asked
    named = f"port {asked.port}" if service.ports else "every port"
    says = f"service {service.name!r} has {asked.vip} and {named}"
    yield well("service", says, f"vipctl lookup {asked.vip}")
    yield _role(case)


def _role(case: Case) -> Step:
    role, name = case.store.role(), case.service.name
    if role.of(name) == "active":
        return well("role", "the director is active for it", "vipctl status")
    whole = role.passive
    if not (case.asked.device or case.service.proxied):
        named = "this director" if whole else f"service {name!r}"
        says = f"{named} is passive; what the director itself sends is balanced all the same"
        return well("role", says, "vipctl status")
    marked = case.service.features.priority and not case.service.proxied
    if whole and marked and case.is_own(case.asked.vip):
        says = f"this director is passive, but {case.asked.vip} is an address of it: it comes in"
        return unknown("role", says, "vipctl status")
    if not whole and (state := _vrrp(case)):
        says = (
            f"service {name!r} is passive: VRRP is {state} here, and one director alone serves it"
        )
        return ill(
            "role", "passive", says, "ask by VRRP's master, or see keepalived", "vipctl status"
        )
    return ill(
        "role",
        "passive",
        f"{'this director' if whole else f'service {name!r}'} is passive: it drops such packets",
        "vipctl activate" if whole else f"vipctl activate --service {name}",
        "vipctl status",
    )


def _vrrp(case: Case) -> str:
    """Its state, if the service's role follows it; then `activate` would be undone."""
    if not case.service.exclusive:
        return ""
    daemon = runtime.about(runtime.WATCH, case.store.directory) or {}
    return str(daemon.get("vrrp") or "") if daemon.get("ours") else ""


def hints(case: Case) -> Iterator[Hint]:
    """The client is served all the same: by its mark, or by its VIP, before the director is."""
    vip = case.asked.vip
    if case.is_own(vip):
        says = f"{vip} is an address of this director, which gets what no service takes"
        fix = f"vipctl remove-range {vip} --service {case.service.name}"
        yield Hint("vip-is-own-address", says, fix)
