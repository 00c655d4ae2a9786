"""Whether the director takes the client's packet for one from there: source validation."""

import errno
from collections.abc import Iterator

from vipctl.diagnosis.case import ANY_PORT, Case
from vipctl.diagnosis.causes import RESTORE
from vipctl.diagnosis.steps import Step, ill, unknown, well
from vipctl.linux import devices, netlink, sysctl
from vipctl.linux.routing import fwmarks, rules, ways
from vipctl.linux.routing.localroutes import PROTOCOL
from vipctl.linux.routing.rules import FR_ACT_GOTO
from vipctl.linux.routing.ways import RTN_UNICAST, Packet, Way

NAME = "source"
REFUSED = (errno.EINVAL, errno.EXDEV)


def steps(case: Case) -> Iterator[Step]:
    """The kernel validates sources of IPv4 alone."""
    name = case.asked.device_name
    if not case.asked.device:
        yield _of_director(case)
    elif not devices.is_up(name):
        says = f"interface {name}, by which {case.asked.client} comes, is down, or has no link"
        yield ill(NAME, "link-down", says, f"ip link set {name} up", f"ip link show {name}")
    elif case.version == 4:
        yield _of_client(case)


def _of_director(case: Case) -> Step:
    """A local socket takes a VIP that is local as its own address; TPROXY sees no such packet."""
    service, asked = case.service, case.asked
    evidence = f"ip route get {asked.vip}"
    passed_by = service.proxied and not case.is_own(asked.vip)  # which is led by lo, and comes in
    if case.version == 4 and (service.features.local or passed_by):
        return ill(
            NAME,
            "asked-from-director",
            f"the director itself asks, which method {service.method} does not serve",
            "ask from another host (--from CLIENT), or use another method",
            evidence,
        )
    if ways.kind_to(asked.vip) is None:
        says = f"the director itself asks, and has no route to {asked.vip}: it sends nothing"
        fix = f"ip route add {asked.vip} …: by any device, as IPVS sends it elsewhere"
        return ill(NAME, "asked-from-director", says, fix, evidence)
    return well(NAME, "the director itself asks, which this method serves")


def _of_client(case: Case) -> Step:
    """By routes to an address of the director, whose packets are local whatever becomes of VIPs."""
    client, device = case.asked.client, case.asked.device_name
    packet = _to_director(case)
    if packet is None:
        return unknown(NAME, "the director has no address that packets could be for")
    if taken(packet).failure in REFUSED:
        return _refused(case, command(packet))
    marked = packet._replace(mark=case.mark)
    if taken(marked).failure in REFUSED:
        return _refused_with_mark(case, command(marked))
    return well(NAME, f"{client} is a valid source on {device}", command(packet))


def _refused_with_mark(case: Case, evidence: str) -> Step:
    client = case.asked.client
    if _marked(case.asked.device_name) and not _skips(case):
        says = f"src_valid_mark is on, and vipctl's rule for it is gone: {client} is a martian"
        return ill(NAME, "src-valid-mark", says, RESTORE, evidence)
    says = f"with the mark, {client} is not valid as a source: a rule of others leads it elsewhere"
    return ill(NAME, "source-refused", says, "look at: ip rule", evidence)


def _to_director(case: Case) -> Packet | None:
    """To an address on the interface that it arrives by, if there is one."""
    usable = [o for o in case.own if o.address.version == 4 and not o.address.is_loopback]
    usable.sort(key=lambda found: found.device != case.asked.device)
    if not usable:
        return None
    return Packet(case.asked.client, case.asked.device, usable[0].address, 0, ANY_PORT)


def _refused(case: Case, evidence: str) -> Step:
    """Newer kernels say EINVAL for every reason: rp_filter alone refuses what may be routed to."""
    client, device = case.asked.client, case.asked.device_name
    strictness = max(_conf(device, "rp_filter"))
    if strictness == "0" or ways.kind_to(client) not in (RTN_UNICAST, None):
        says = f"{client} is not valid as a source of packets"
        return ill(NAME, "source-refused", says, f"look at: ip route get {client}", evidence)
    if strictness == "1":
        says = f"rp_filter=1: {client} arrives by {device}, and is answered by another interface"
        fix = f"sysctl -w net/ipv4/conf/{device}/rp_filter=2"
    else:
        says = f"rp_filter: the director has no route to {client}"
        fix = f"ip route add {client} …"
    return ill(NAME, "rp-filter", says, fix, evidence)


def taken(packet: Packet) -> Way:
    with netlink.connect() as link:
        return ways.taken_by(link, packet)


def command(packet: Packet) -> str:
    """What shows the same."""
    words = f"ip route get {packet.vip} from {packet.client} iif {ways.name_of(packet.device)}"
    port = packet.port
    named = f" ipproto {port.protocol} dport {port.number}" if port.number else ""
    return words + (f" mark {packet.mark:#x}" if packet.mark else "") + named


def _marked(device: str) -> bool:
    return "1" in _conf(device, "src_valid_mark")


def _conf(device: str, name: str) -> list[str]:
    """Of all interfaces, and of this one."""
    where = ("all", device.translate(sysctl.SWAPPED))
    return [sysctl.read(f"net.ipv4.conf.{one}.{name}") or "0" for one in where]


def _skips(case: Case) -> bool:
    """Whether the rule is there that leads lookups of sources past those that accept."""
    mark = fwmarks.selector(case.service.fwmark)
    return any(
        (rule.version, rule.mark, rule.mask, rule.action) == (4, *mark, FR_ACT_GOTO)
        and rule.protocol == PROTOCOL
        for rule in rules.read()
    )
