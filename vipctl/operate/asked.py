"""What an operator asked of a service, by option: against what is stored, and what can be."""

from typing import Any

from vipctl import methods
from vipctl.errors import Refused
from vipctl.services.model import AUTO, PROXY, Service

Given = dict[str, Any]  # fields of a Service that the operator named
BALANCING = ("reals", "scheduler", "forward", "persistence", "set_sysctls")


def existing(service: Service, given: Given) -> Service:
    """The service, if it is as the options say. Raises Refused."""
    for field, value in given.items():
        if getattr(service, field) != value and (field, value) != ("method", AUTO):
            command = "add-real" if field == "reals" else "set-service"
            raise Refused(
                f"service {service.name!r} has {field} {_said(getattr(service, field))}",
                hint=f"vipctl {command} {service.name} …, or leave the option out",
            )
    return service


def with_method(given: Given, before: Service | None) -> Given:
    """`given` with a method that the director can use. Raises Missing, Refused."""
    method = given.get("method", AUTO)
    proxied = method == PROXY or "to_port" in given
    if before is not None and before.proxied is not proxied and method != AUTO:
        raise Refused(
            f"service {before.name!r} cannot go from method {before.method} to {method}: one is "
            "balanced by IPVS, the other by a local proxy",
            hint=f"remove-service {before.name} and add it anew; both at once: vipctl apply",
        )
    if method == AUTO:
        return given | {"method": methods.best(proxied=before.proxied if before else proxied)}
    methods.get(method).probe()
    return given


def refuse_for_proxy(service: Service, given: Given) -> None:
    for field in BALANCING:
        if field in given and service.proxied:
            raise Refused(
                f"method {PROXY} hands packets to a local proxy, IPVS never sees them: it has no "
                f"{field}",
                hint="configure that in the proxy, or use a method that IPVS balances",
            )


def refuse_balancing(service: Service, given: Given) -> None:
    """Refuses options of IPVS for a service whose IPVS side is not ours, or that has none.

    An acceptance-only service is named after its mark, which thus stays.
    """
    refuse_for_proxy(service, given)
    for field in (*BALANCING, "fwmark"):
        if field in given and service.accepted_only:
            raise Refused(
                f"service {service.name!r} is acceptance only: its {field} is not vipctl's to set",
                hint="change it where the IPVS service is managed, or add-range --fwmark another",
            )


def _said(value: object) -> str:
    return (" ".join(map(str, value)) or "none") if type(value) is tuple else str(value)
