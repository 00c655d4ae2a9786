"""Refusals of health checks that could not be carried out, or would tell nothing. Pure."""

from typing import TYPE_CHECKING

from vipctl.errors import Refused
from vipctl.services.real import real_key
from vipctl.services.values import FED_BACK, AllDown, Forward

if TYPE_CHECKING:
    from vipctl.services.real import RealServer
    from vipctl.services.service import Service


def refuse(service: "Service") -> None:
    """Raises Refused if its checks, or what is to follow from them, exclude other options."""
    _refuse_fallback(service)
    _refuse_idle_feedback(service)
    for real in service.reals if service.checks else ():
        _refuse_unknown_port(service, real)
        if service.checked_by_vip(real):
            _refuse_local_vips(service, real)
            _refuse_remembered_datagrams(service, real)


def _refuse_fallback(service: "Service") -> None:
    fallback = service.fallback
    if fallback is None and service.all_down is AllDown.FALLBACK:
        raise Refused("--all-down fallback names no server", hint="add --fallback RIP[:PORT]")
    if fallback is None:
        return
    if service.all_down is AllDown.REFUSE:
        raise Refused(
            "--all-down refuse leaves nothing for --fallback to do", hint="leave one of them out"
        )
    if fallback.port and service.forward is not Forward.NAT:
        raise Refused(
            f"fallback {fallback} names a port, which --forward {service.forward} cannot translate",
            hint=f"name it as {fallback.address}, or use --forward nat",
        )
    if real_key(fallback) in map(real_key, service.reals):
        raise Refused(
            f"fallback {fallback} is one of the service's real servers",
            hint="it would be down too: name another",
        )


def _refuse_idle_feedback(service: "Service") -> None:
    name = service.scheduler.name
    if not service.feeds_back or name in FED_BACK:
        return
    why = {
        "lc": "does not look at weights: wlc is the same with them",
        "wrr": "sends new clients to a slow server as before, until weights have followed",
    }.get(name, "does not share clients by weights and connections")
    raise Refused(
        f"--feedback load is not for --scheduler {name}, which {why}",
        hint=f"use --scheduler {' or '.join(FED_BACK)}, or --feedback no",
    )


def _refuse_unknown_port(service: "Service", real: "RealServer") -> None:
    for check in service.checks:
        if check.kind != "exec" and not service.check_port(check, real):
            said = f"{check.kind}:PORT" if check.kind in ("tcp", "udp") else f"{check},port=PORT"
            raise Refused(
                f"check {check} names no port, and of real server {real.endpoint} nothing tells "
                "on which one it gets traffic",
                hint=f"write --check {said}, or name one port of the service",
            )


def _refuse_local_vips(service: "Service", real: "RealServer") -> None:
    """What the real server answers from a VIP, the director takes for forged if that is its own."""
    if service.features.local and 4 in real.versions and _unanswered(service, real):
        raise Refused(
            f"with method {service.method} the director drops what {real.address} answers from an "
            "IPv4 VIP, so checks through a VIP would always fail",
            hint="use --check-via rip, or another method",
        )


def _refuse_remembered_datagrams(service: "Service", real: "RealServer") -> None:
    """IPVS keeps a client's port for minutes, and would take another server's question there."""
    for check in service.checks:
        if check.protocol == "udp" and not _unanswered(service, real):
            raise Refused(
                f"check {check} cannot ask {real.endpoint} through a VIP: with --forward nat IPVS "
                "remembers which real server a port of the director asked",
                hint="use --check-via rip, or auto",
            )


def _unanswered(service: "Service", real: "RealServer") -> bool:
    """Whether answers do not come back through IPVS, but straight from the VIP."""
    return service.forward_of(real) is not Forward.NAT
