"""The rules, and the names of the sets, of the method `fwmark-iptables`. Pure."""

import re
from collections.abc import Iterable, Iterator

from vipctl.addresses.prefixes import VERSIONS
from vipctl.linux.iptables.legacy import Chains
from vipctl.linux.iptables.wording import CHAIN
from vipctl.services.change import Acceptance, Shape
from vipctl.services.service import Service, idle_versions
from vipctl.services.values import Leftover, Port

PORTS, REPLIES = f"{CHAIN}-PORTS", f"{CHAIN}-REPLIES"
CHECK, REFUSE = f"{CHAIN}-CHECK", f"{CHAIN}-REFUSE"
OWN, SENT = f"{CHAIN}-OWN", f"{CHAIN}-SENT"
OF = f"{CHAIN}-OF-"  # and the state directory's token
ICMP = {4: "icmp", 6: "icmpv6"}
ECHO_REQUEST = {4: 8, 6: 128}
NEIGHBOURS = {  # an address of the director's own that is a VIP, too, needs them
    4: [],
    6: [f"-p icmpv6 -m icmp6 --icmpv6-type {kind} -j RETURN" for kind in (135, 136)],
}
ERRORS = {4: (3, 4, 11), 6: (1, 2, 3, 4)}  # types of ICMP that IPVS looks into
UNREACHABLE = {4: "icmp-port-unreachable", 6: "icmp6-port-unreachable"}
IPVS_TAKES = ("tcp", "udp", "sctp", "esp", "ah")
UNMARK = "-j MARK --set-xmark 0x0/0xffffffff"
KEEP_MARK = "-j MARK --set-xmark 0x0/0x0"  # python-iptables takes no rule without a target
UNMARKED = "-m mark --mark 0x0"
SYN = "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN"
PORTS_IN_A_RULE = 15  # XT_MULTI_PORTS of include/uapi/linux/netfilter/xt_multiport.h

Tables = dict[tuple[int, str], Chains]  # by IP version and name


def tables(acceptance: Acceptance) -> Tables:
    """Our chains in every table; none for an IP version that is not in use."""
    found: Tables = {}
    for version in VERSIONS if acceptance.active() else ():
        if sets := [name for name, v in sets_of(acceptance).items() if v == version]:
            found[version, "filter"] = _filter(version, sets, acceptance)
            found[version, "mangle"] = _mangle(version, sets, acceptance.services)
            if acceptance.owner:
                found[version, "mangle"][OF + acceptance.owner] = []
            if pinged := acceptance.answering_pings():
                found[version, "nat"] = _nat(version, pinged)
    return found


def sets_of(acceptance: Acceptance) -> dict[str, int]:
    """The names of the sets, in the order of planes, and their IP versions."""
    if not acceptance.active():
        return {}
    ordered = sorted(acceptance.shapes, key=lambda shape: (shape.version, shape.plane))
    return {set_name(shape): shape.version for shape in ordered}


def set_name(shape: Shape) -> str:
    plane = f"_p{shape.plane}" if shape.plane else ""
    return f"vipctl{shape.version}{plane}"


def _mangle(version: int, sets: list[str], services: Iterable[Service]) -> Chains:
    expiring = ["-m ttl --ttl-lt 2 -j RETURN"] if version == 4 else []
    served = [rule for s in services for rule in _its_ports(s)]
    tried = [rule for name in sets for rule in (_lookup(name), *served)]
    unserved = [f"{_marked(s)} {UNMARK}" for s in services if s.ports]
    found = {
        "PREROUTING": [f"-j {CHAIN}"],
        CHAIN: [*expiring, *map(_lookup, sets)],
        "OUTPUT": [f"{UNMARKED} -j {OWN}"],
        OWN: [*tried, *unserved],
    }
    if version == 6:
        found["OUTPUT"].append(f"-j {REPLIES}")
        found[REPLIES] = _replies(sets)
    if len(sets) > 1:
        found |= {"INPUT": [f"-j {PORTS}"], PORTS: tried}
    return found


def _quietly(service: Service) -> str:
    """Ends it, or only counts."""
    return "-j DROP" if service.leftover is Leftover.DROP else KEEP_MARK


def refused_mark(rule: str) -> int | None:
    """The mark of the service that a rule in REFUSE counts for; None if it counts for several."""
    found = re.match(r"-m mark --mark (0x[0-9a-f]+)", rule)
    return int(found[1], 16) if found else None


def works(mangle: Chains) -> bool:
    """Whether packets come to our chain, and are looked up there."""
    return bool(mangle.get("PREROUTING")) and any(
        rule.startswith("-j SET") for rule in mangle.get(CHAIN, ())
    )


def _replies(sets: Iterable[str]) -> list[str]:
    """Drops what the director's own sockets send from VIPs.

    Not resets, which are refusals, nor what asks for neighbours and answers them.

    IPVS and SYNPROXY are not meant: packets that IPVS sends get a VIP as source later (-102), and
    SYNPROXY's have no socket.
    """
    from_vips = (f"-m owner --socket-exists -m set --match-set {name} src -j DROP" for name in sets)
    return ["-p tcp -m tcp --tcp-flags RST RST -j RETURN", *NEIGHBOURS[6], *from_vips]


def _lookup(name: str) -> str:
    return f"-j SET --map-set {name} dst --map-mark"


def _nat(version: int, services: Iterable[Service]) -> Chains:
    echo = f"{_icmp(version, ECHO_REQUEST[version])} -j REDIRECT"
    rules = [f"-p {ICMP[version]} {_marked(service)} {echo}" for service in services]
    return {"PREROUTING": [f"-j {CHAIN}"], CHAIN: rules}


def _filter(version: int, sets: list[str], acceptance: Acceptance) -> Chains:
    """ICMP errors must reach IPVS. A mark alone is not believed: others set some."""
    services = acceptance.services
    errors = [f"-p {ICMP[version]} {_icmp(version, kind)} -j RETURN" for kind in ERRORS[version]]
    to_vips = [f"-m set --match-set {name} dst -j {CHECK}" for name in sets]
    return {
        "INPUT": [f"-j {CHAIN}"],
        CHAIN: [*errors, *to_vips],
        CHECK: [
            *(f"{_marked(s)} -j DROP" for s in acceptance.passive_services()),
            *(rule for service in services for rule in _served(version, service)),
            *(f"-p {protocol} -j RETURN" for protocol in IPVS_TAKES),
            f"-j {REFUSE}",
        ],
        REFUSE: [
            *NEIGHBOURS[version],
            *(f"{_marked(s)} {_quietly(s)}" for s in services),
            "-p tcp -j REJECT --reject-with tcp-reset",
            f"-j REJECT --reject-with {UNREACHABLE[version]}",
        ],
        "OUTPUT": [f"-j {SENT}"],
        SENT: [f"{_marked(s)} {UNMARK}" for s in services],
    }


def _served(version: int, service: Service) -> list[str]:
    """Refuses at once what no real server could answer."""
    if version in idle_versions(service):
        return [f"{_marked(service)} -j {REFUSE}"]
    if not service.ports:
        return []
    mark = _marked(service)
    others = [f"{SYN} {mark} -j {REFUSE}", f"-p tcp {mark} {UNMARK}", f"{mark} -j {REFUSE}"]
    return [*_its_ports(service), *others]


def _its_ports(service: Service) -> Iterator[str]:
    for protocol in dict.fromkeys(port.protocol for port in service.ports):
        named = [port for port in service.ports if port.protocol == protocol]
        for some in _in_rules(named):
            ports = ",".join(port.text.replace("-", ":") for port in some)
            yield f"-p {protocol} {_marked(service)} -m multiport --dports {ports} -j RETURN"


def _in_rules(ports: Iterable[Port]) -> Iterator[list[Port]]:
    """The ports in lists that each fit a rule; a range counts as two."""
    rule: list[Port] = []
    for port in ports:
        if sum(2 if one.last else 1 for one in (*rule, port)) > PORTS_IN_A_RULE:
            yield rule
            rule = []
        rule.append(port)
    yield rule


def _icmp(version: int, kind: int) -> str:
    return f"-m icmp --icmp-type {kind}" if version == 4 else f"-m icmp6 --icmpv6-type {kind}"


def _marked(service: Service) -> str:
    return f"-m mark --mark {service.fwmark:#x}"
