"""The way of the answer: to the director and through it (nat), or past it (dr, tun)."""

from collections.abc import Iterator

from vipctl.diagnosis import case as cases
from vipctl.diagnosis.case import ANY_PORT, Case
from vipctl.diagnosis.causes import set_sysctls
from vipctl.diagnosis.source import command, taken
from vipctl.diagnosis.steps import Step, ill, unknown, well
from vipctl.linux import sysctl
from vipctl.linux.routing import ways
from vipctl.linux.routing.ways import RTN_UNICAST, Packet
from vipctl.services.real import RealServer
from vipctl.services.values import Forward

NAME, FORWARDING = "answer", "forwarding"


def steps(case: Case) -> Iterator[Step]:
    """By nat of the first real server that is not the director; by dr and tun of the first.

    What the director itself has asked for ends there anyway.
    """
    if not case.asked.device:
        return
    remote = [real for real in case.chosen if not case.is_own(real.address)]
    translated = [real for real in remote if real.forward == Forward.NAT]
    if translated:
        yield from _through(case, translated)
    if direct := [real for real in remote if real.forward != Forward.NAT]:
        yield _past(case, direct[0])


def _through(case: Case, reals: list[RealServer]) -> Iterator[Step]:
    forwarding = _forwards(case, reals[0])
    yield forwarding
    if beside := [real for real in reals if _beside(case, real)]:
        yield _misled(case, beside[0])
    elif not forwarding.cause:
        yield _routed(case, reals[0])


def _forwards(case: Case, real: RealServer) -> Step:
    """By IPv4 each interface has a switch of its own, by IPv6 they have one together."""
    names = [sysctl.FORWARD6]
    if real.address.version == 4:
        device = ways.device_to(real.address)
        names = ["net.ipv4.ip_forward"]
        if device:
            where = ways.name_of(device).translate(sysctl.SWAPPED)
            names.append(f"net.ipv4.conf.{where}.forwarding")
    off = [name for name in names if sysctl.read(name) == "0"]
    if not off:
        return well(FORWARDING, "the director forwards", f"sysctl {names[0]}")
    says = f"{off[0]} is 0: answers of {real.address} end at the director"
    return ill(FORWARDING, "forwarding-off", says, _switched_on(case, off[0]), f"sysctl {off[0]}")


def _switched_on(case: Case, name: str) -> str:
    """So that it lasts, where vipctl can have it so."""
    if name not in sysctl.needed([case.service]):
        return f"sysctl -w {name}=1"
    return set_sysctls(case.service)


def _beside(case: Case, real: RealServer) -> bool:
    """Whether the client is on the real server's link, so that this answers it by itself."""
    networks = cases.connected(case, real.address)
    return not case.service.source_nat and any(
        own in cases.connected(case, case.asked.client) for own in networks
    )


def _misled(case: Case, real: RealServer) -> Step:
    client = case.asked.client
    says = f"{client} is in the subnet of {real.address}, which answers it past the director"
    if not case.service.balanced:
        return ill(NAME, "client-beside-reals", says, "forward by dr, or ask from elsewhere")
    fix = f"vipctl set-service {case.service.name} --source-nat auto"
    return ill(NAME, "client-beside-reals", says, fix, f"ip route get {client}")


def _routed(case: Case, real: RealServer) -> Step:
    """Its route from the director on; whether it comes here, only the real server tells."""
    client, device = case.asked.client, ways.device_to(real.address)
    if device is None:
        return unknown(NAME, f"not known, as there is no route to {real.address}")
    if ways.kind_to(client) is None:
        says = f"the director has no route for answers to {client}"
        evidence = f"ip route get {client}"
        return ill(NAME, "no-route-to-client", says, f"ip route add {client} …", evidence)
    packet = Packet(real.address, device, client, 0, ANY_PORT)
    if taken(packet).kind != RTN_UNICAST:
        return unknown(NAME, f"the director does not route answers to {client}", command(packet))
    if case.service.source_nat:
        return well(NAME, "real servers answer the director, which translates", command(packet))
    says = f"whether the way of {real.address} to {client} leads through the director"
    return unknown(NAME, f"{says} is to be seen there", f"on {real.address}: ip route get {client}")


def _past(case: Case, real: RealServer) -> Step:
    vip, client = case.asked.vip, case.asked.client
    says = f"whether {real.address} has {vip} and answers {client} itself is to be seen there"
    return unknown(NAME, says, f"on {real.address}: ip route get {client} from {vip}")
