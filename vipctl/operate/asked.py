"""Checks the options that an operator gave against the stored service and the director."""

from collections.abc import Mapping

from vipctl import methods
from vipctl.errors import Refused, nearest
from vipctl.services.methods import METHODS
from vipctl.services.options import OPTIONS
from vipctl.services.service import Given, Service
from vipctl.services.values import AUTO


def known(services: Mapping[str, Service], name: str) -> Service:
    """The service with that name. Raises Refused, with similar names in the hint."""
    service = services.get(name)
    if service is None:
        hint = nearest(name, services, "vipctl list-services")
        raise Refused(f"there is no service {name!r}", hint=hint)
    return service


def existing(service: Service, given: Given) -> Service:
    """Returns the service. Raises Refused if it is not as the given options say."""
    for name, value in given.items():
        if (name, value) != ("method", AUTO) and service.altered({name: value}) != service:
            command = "add-real" if name == "reals" else "set-service"
            raise Refused(
                f"service {service.name!r} has {name} {_said(service.value(name))}",
                hint=f"vipctl {command} {service.name} …, or leave the option out",
            )
    return service


def with_method(given: Given, before: Service | None) -> Given:
    """`given` with a method that the director can use instead of "auto".

    Raises Missing if it cannot use the given one; Refused for a change between IPVS and a proxy.
    """
    method = given.get("method", AUTO)
    wanted = proxied(given)
    if before is not None and before.proxied is not wanted and method != AUTO:
        raise Refused(
            f"service {before.name!r} cannot go from method {before.method} to {method}: one is "
            "balanced by IPVS, the other by a local proxy",
            hint=f"remove-service {before.name} and add it anew; both at once: vipctl apply",
        )
    if method == AUTO:
        best = methods.best(proxied=before.proxied if before else wanted)
        return {**given, "method": best}
    methods.get(method).probe()
    return given


def proxied(given: Given) -> bool:
    """Whether these options are for a method that hands packets to a local proxy."""
    method = METHODS.get(str(given.get("method", AUTO)))
    if method is not None:
        return method.proxied
    return any(method.proxied and given.keys() & method.options for method in METHODS.values())


def refuse_for_proxy(service: Service, given: Given) -> None:
    for name in _of_ipvs(given) if service.proxied else ():
        raise Refused(
            f"method {service.method} hands packets to a local proxy, IPVS never sees them: it "
            f"has no {name}",
            hint="configure that in the proxy, or use a method that IPVS balances",
        )


def refuse_balancing(service: Service, given: Given) -> None:
    """Raises Refused for IPVS options of a service that vipctl does not balance.

    For an acceptance-only service also for the mark, after which it is named.
    """
    refuse_for_proxy(service, given)
    for name in (*_of_ipvs(given), *({"fwmark"} & given.keys())) if service.accepted_only else ():
        raise Refused(
            f"service {service.name!r} is acceptance only: its {name} is not vipctl's to set",
            hint="change it where the IPVS service is managed, or add-range --fwmark another",
        )


def _of_ipvs(given: Given) -> list[str]:
    return [n for n, option in OPTIONS.items() if option.ipvs and n in given]


def _said(value: object) -> str:
    return (" ".join(map(str, value)) or "none") if type(value) is tuple else str(value)
