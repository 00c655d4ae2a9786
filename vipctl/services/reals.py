"""Changes of a service's real servers; each function returns the changed service. Pure."""

from collections.abc import Iterable

from vipctl.addresses.prefixes import IPAddress
from vipctl.errors import Refused, nearest
from vipctl.services.real import RealServer, Settings, real_key
from vipctl.services.service import Service


def add(service: Service, reals: Iterable[RealServer]) -> Service:
    """Adds real servers. Raises Refused if one is there already with other options."""
    merged = {real_key(r): r for r in service.reals}
    for real in reals:
        old = merged.setdefault(real_key(real), real)
        if old != real:
            raise Refused(
                f"service {service.name!r} has real server {old} already",
                hint=f"vipctl set-real {service.name} {_spelled(real)}",
            )
    return service.with_reals(merged.values())


def _spelled(real: RealServer) -> str:
    """With every option, also those with their defaults."""
    return ",".join([real.endpoint, *(f"{key}={n}" for key, n in real.settings().items())])


def find(service: Service, address: IPAddress, port: int | None) -> RealServer:
    """The real server at that address (and port, if one is given). Raises Refused."""
    found = _at(service, address, port)
    if len(found) == 1:
        return found[0]
    known = " ".join(real.endpoint for real in service.reals)
    if not found:
        hosts = dict.fromkeys(str(real.address) for real in service.reals)
        raise Refused(
            f"service {service.name!r} has no real server {address}",
            hint=nearest(str(address), hosts, f"it has: {known or 'none'}"),
        )
    raise Refused(f"{address} is more than one real server", hint=f"name the port: {known}")


def change(service: Service, address: IPAddress, port: int | None, changed: Settings) -> Service:
    """Changes options. Raises Refused if there is no such real server, or more than one."""
    real = find(service, address, port)
    return service.with_reals(real.altered(changed) if r == real else r for r in service.reals)


def drain(service: Service, address: IPAddress, port: int | None) -> Service:
    """Sets the weight to 0 and remembers the old one. Raises as `change`."""
    real = find(service, address, port)
    return change(service, address, port, {"weight": 0, "was": real.weight or real.was})


def undrain(service: Service, address: IPAddress, port: int | None) -> Service:
    """Restores the weight from before `drain`. Raises as `change`, and Refused if it is unknown."""
    real = find(service, address, port)
    if not (real.weight or real.was):
        raise Refused(
            f"{real.endpoint} has weight 0, and not by drain-real: nothing tells what it had",
            hint=f"vipctl set-real {service.name} {real.endpoint},weight=N",
        )
    return change(service, address, port, {"weight": real.weight or real.was})


def remove(service: Service, address: IPAddress, port: int | None) -> Service:
    """Removes a real server; having none is no error. Raises Refused if there are several."""
    if not has(service, address, port):
        return service
    gone = find(service, address, port)
    return service.with_reals(real for real in service.reals if real != gone)


def replace(
    service: Service,
    old: tuple[IPAddress, int | None],
    new: tuple[IPAddress, int | None],
    changed: Settings,
) -> Service:
    """Replaces a real server; the new one has its options, but for those `changed`."""
    if not has(service, *old) and has(service, *new):
        return service
    real = find(service, *old)
    address, port = new
    come = real._replace(address=address, port=real.port if port is None else port)
    rest = service.with_reals(r for r in service.reals if r != real)
    return add(rest, [come.altered(changed)])


def has(service: Service, address: IPAddress, port: int | None) -> bool:
    return bool(_at(service, address, port))


def _at(service: Service, address: IPAddress, port: int | None) -> list[RealServer]:
    return [r for r in service.reals if r.address == address and port in (None, r.port)]
