"""The way from the director to the real servers: route, interface, neighbour."""

from collections.abc import Iterator

from vipctl.addresses.prefixes import IPAddress
from vipctl.diagnosis import case as cases
from vipctl.diagnosis.case import Case
from vipctl.diagnosis.steps import Step, ill, unknown, well
from vipctl.linux import devices
from vipctl.linux.routing import neighbours, ways
from vipctl.linux.routing.neighbours import NUD_FAILED, NUD_VALID
from vipctl.services.real import RealServer
from vipctl.services.values import Forward

MOST = 8  # real servers


def steps(case: Case) -> Iterator[Step]:
    for real in case.chosen[:MOST]:
        yield _toward(case, real)
    if rest := case.chosen[MOST:]:
        yield unknown("real-server", f"{len(rest)} more real servers are not looked at")


def _toward(case: Case, real: RealServer) -> Step:
    name, evidence = f"real-server {real.endpoint}", f"ip route get {real.address}"
    if case.is_own(real.address):
        return well(name, f"{real.address} is the director itself", evidence)
    if down := _down(case, real.address):
        return _link(name, down)
    device = ways.device_to(real.address)
    if device is None:
        says = f"the director has no route to {real.address}"
        return ill(name, "no-route-to-real", says, f"ip route add {real.address} …", evidence)
    if not devices.is_up(ways.name_of(device)):
        return _link(name, ways.name_of(device))
    gateway = ways.gateway_to(real.address)
    if gateway and real.forward == Forward.DR:
        says = f"{gateway} gets packets for the VIP, and has to lead them to {real.address}"
        return unknown(name, says, evidence)
    return _neighbour(name, real, device, gateway or real.address)


def _down(case: Case, address: IPAddress) -> str:
    """An interface that is down, whose network would lead to the address if it were up."""
    near = [own for own in cases.connected(case, address) if own.length > ways.length_to(address)]
    there = (ways.name_of(own.device) for own in near)
    return next((name for name in there if not devices.is_up(name)), "")


def _link(name: str, device: str) -> Step:
    says = f"interface {device} is down, or has no link"
    return ill(name, "link-down", says, f"ip link set {device} up", f"ip link show {device}")


def _neighbour(name: str, real: RealServer, device: int, hop: IPAddress) -> Step:
    where = ways.name_of(device)
    evidence = f"ip neighbour show to {hop} dev {where}"
    found = neighbours.state(device, hop)
    by = f"{real.address} by {where}" + (f" via {hop}" if hop != real.address else "")
    if found & NUD_FAILED:
        says = f"{hop} does not answer on {where}"
        return ill(name, "neighbour-failed", says, f"is {hop} up, and on that link?", evidence)
    if found & NUD_VALID:
        return well(name, f"{by}: the neighbour is known", evidence)
    return unknown(name, f"{by}: whether {hop} answers is not known yet", evidence)
