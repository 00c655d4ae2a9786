"""The `fwmark-iptables` method: as `fwmark`, with legacy iptables and ipset instead of nftables.

One set for each IP version and plane, `vipctl4`, `vipctl4_p1`, from prefix to mark, and chains of
our own, drawn by `tables`:

    mangle PREROUTING   VIPCTL         destination → fwmark
    nat    PREROUTING   VIPCTL         echo requests of services with --ping go to the director
    mangle INPUT        VIPCTL-PORTS   where services share VIPs: whose port is it?
    mangle OUTPUT       VIPCTL-OWN     the director's own packets for VIPs
                        VIPCTL-REPLIES the director's own sockets do not answer from VIPs (IPv6)
    mangle              VIPCTL-OF-…    empty; its name tells the state directory
    filter INPUT        VIPCTL         refuses other ports, services without servers, and what IPVS
                                       never takes: other protocols, ICMP but for errors
    filter OUTPUT       VIPCTL-SENT    what IPVS sends on has no mark any more (see `fwmark`)

Legacy tables have no place behind IPVS (98, 99 at LOCAL_IN), so there is no guard. What begins a
connection to a port that no service names is refused before IPVS, though it may be one that IPVS
waits for (FTP's passive data); what belongs to an open TCP connection only loses its mark, and IPVS
finds it, or TCP takes it for nothing of its own. While the IPVS
service of a mark is missing, what passes these rules meets the director's own sockets: UDP and SCTP
ones bound to no address get the packet. No answer of theirs leaves, nor any of TCP but resets: the
kernel sends none of IPv4 whose source is not in table `local`, but for transparent sockets, and
VIPCTL-REPLIES drops IPv6's.

An IPv4 packet whose TTL ends here is not accepted but routed as if it were not for a VIP, so that
the kernel's forwarding says so to its sender with the director's address.
"""

import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress

from vipctl.addresses.few import BITS, WIDTH
from vipctl.addresses.prefixes import FAMILY, VERSIONS
from vipctl.errors import Missing
from vipctl.linux.iptables import ipset, legacy, members
from vipctl.linux.iptables.legacy import CHAIN, Chains
from vipctl.linux.routing import fwmarks
from vipctl.linux.routing.fwmarks import Block
from vipctl.services import batch
from vipctl.services.batch import Batch
from vipctl.services.change import NOTHING, Acceptance, Entry, Shape
from vipctl.services.methods import METHODS
from vipctl.services.seal import ABSENT, OTHER, Seal, intact
from vipctl.services.service import Service, idle_versions
from vipctl.services.values import Leftover

WITNESSED = True
SIZED = False
ROUTED = True
BLOCK = Block.of(METHODS["fwmark-iptables"])
LOCAL = BLOCK.table
OUR_SETS = re.compile(r"vipctl[46](_p\d+)?(_new)?")
NEW = "_new"  # a set that is being filled
PORTS, REPLIES = f"{CHAIN}-PORTS", f"{CHAIN}-REPLIES"
CHECK, REFUSE = f"{CHAIN}-CHECK", f"{CHAIN}-REFUSE"
OWN, SENT = f"{CHAIN}-OWN", f"{CHAIN}-SENT"
OF = f"{CHAIN}-OF-"  # and the state directory's token
GUARDING = ("filter", "nat")
MARKING = ("mangle",)
ICMP = {4: "icmp", 6: "icmpv6"}
ECHO_REQUEST = {4: 8, 6: 128}
ERRORS = {4: (3, 4, 11), 6: (1, 2, 3, 4)}  # types of ICMP that IPVS looks into
UNREACHABLE = {4: "icmp-port-unreachable", 6: "icmp6-port-unreachable"}
IPVS_TAKES = ("tcp", "udp", "sctp", "esp", "ah")
UNMARK = "-j MARK --set-xmark 0x0/0xffffffff"
UNMARKED = "-m mark --mark 0x0"
SYN = "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN"
PORTS_IN_A_RULE = 15  # XT_MULTI_PORTS of include/uapi/linux/netfilter/xt_multiport.h

Tables = dict[tuple[int, str], Chains]  # by IP version and name


def probe() -> Iterator[str]:
    notes = legacy.probe()
    ipset.probe()
    return notes


def owner() -> str:
    if not _our_sets():
        return ""
    chains = [chain for version in VERSIONS for chain in legacy.read(version, "mangle")]
    return next((c.removeprefix(OF) for c in chains if c.startswith(OF)), "")


def seal(acceptance: Acceptance) -> Seal:
    """Rules that we made need our sets: where there is none, no table is looked at.

    A member at each end of a service's ranges stands for all of them.
    """
    sets = sorted(_sets(acceptance))
    if fwmarks.read(BLOCK) != BLOCK.accepting(acceptance) or sorted(_our_sets()) != sets:
        return OTHER
    if not acceptance.active():
        return ABSENT
    if not all(map(_present, acceptance.witnesses)) or _read() != tables(acceptance):
        return OTHER
    return intact(" ".join(sets))


def _present(entry: Entry) -> bool:
    version, length = entry.shape.version, entry.shape.length
    address = entry.start.to_bytes(WIDTH[version], "big")
    return members.present(set_name(entry.shape), version, length, address)


def _read() -> Tables:
    found = {
        (version, table): legacy.read(version, table)
        for version in VERSIONS
        for table in (*GUARDING, *MARKING)
    }
    return {key: chains for key, chains in found.items() if chains}


def apply(before: Acceptance, after: Acceptance, removed: Batch, added: Batch) -> int:
    if not (before.active() and after.active()):
        return load(after, added)
    during = _together(before, after)
    with fwmarks.changing(BLOCK, BLOCK.accepting(after)):
        ipset.restore(_created(_without(_sets(after), _sets(before)), added))
        ipset.restore(_kept_lengths(before, after))
        if tables(during) != tables(before):
            _enforce(during)
        stale = _without(_sets(before), _sets(after))
        kept = {key: found for key, found in removed.items() if set_name(key[0]) not in stale}
        _exchange(batch.elsewhere(kept, added), added)
        if tables(after) != tables(during):
            _enforce(after)
        ipset.restore(map(ipset.destroy, stale))
    return 0


def load(after: Acceptance, wanted: Batch) -> int:
    """Fills new sets and swaps them with those that rules look into."""
    present, sets = _our_sets(), _sets(after)
    if not (present or after.active()):
        with fwmarks.changing(BLOCK, set()):
            return 0
    with fwmarks.changing(BLOCK, BLOCK.accepting(after)):
        _remove_unfit(present, sets)
        try:
            _fill(sets, wanted)
            _enforce(after, GUARDING)
            ipset.restore(_swapped(sets))
        except BaseException:
            ipset.restore(ipset.destroy(name + NEW) for name in sets)
            raise
        _enforce(after)
        stale = (n for n in present if n not in sets and not n.endswith(NEW))
        ipset.restore(map(ipset.destroy, stale))
    return 0


def _remove_unfit(present: set[str], wanted: dict[str, int]) -> None:
    """What a killed command left half-filled, and sets of a form that cannot be swapped."""
    found = ipset.headers() if present else {}
    unfit = [n for n in found.keys() & wanted.keys() if not found[n].fits(wanted[n])]
    if unfit:
        _enforce(NOTHING)
    half_filled = [name for name in present if name.endswith(NEW)]
    ipset.restore(map(ipset.destroy, (*unfit, *half_filled)))


def epoch() -> str:
    return ""


def holds(acceptance: Acceptance, wanted: Batch, since: str) -> bool:
    sets: dict[str, members.Members] = {name: {} for name in _sets(acceptance)}
    for (shape, mark), addresses in wanted.items():
        sets[set_name(shape)][shape.length, mark] = addresses
    return _our_sets() == sets.keys() and all(
        batch.same(WIDTH[version], members.read(name, version), sets[name])
        for name, version in _sets(acceptance).items()
    )


def _together(before: Acceptance, after: Acceptance) -> Acceptance:
    """Both at once, so that nothing of either is refused or let through meanwhile."""
    marks = {service.fwmark for service in after.services}
    gone = tuple(service for service in before.services if service.fwmark not in marks)
    return after._replace(services=after.services + gone, shapes=before.shapes | after.shapes)


def _enforce(acceptance: Acceptance, names: tuple[str, ...] = (*GUARDING, *MARKING)) -> None:
    """What refuses comes before what marks, and goes after it."""
    wanted = tables(acceptance)
    ordered = [(version, table) for table in names for version in VERSIONS]
    for version, table in ordered:
        if chains := wanted.get((version, table)):
            legacy.replace(version, table, chains)
    for version, table in reversed(ordered):
        if (version, table) not in wanted:
            legacy.replace(version, table, {})


def _our_sets() -> set[str]:
    with suppress(Missing):  # then there are none
        return set(filter(OUR_SETS.fullmatch, ipset.names()))
    return set()


def _sets(acceptance: Acceptance) -> dict[str, int]:
    """The IP versions of the sets by their names; in the order of planes."""
    if not acceptance.active():
        return {}
    ordered = sorted(acceptance.shapes, key=lambda shape: (shape.version, shape.plane))
    return {set_name(shape): shape.version for shape in ordered}


def _without(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
    return {name: version for name, version in left.items() if name not in right}


def set_name(shape: Shape) -> str:
    plane = f"_p{shape.plane}" if shape.plane else ""
    return f"vipctl{shape.version}{plane}"


def _created(sets: dict[str, int], wanted: Batch, suffix: str = "") -> Iterator[str]:
    for name, version in sets.items():
        size = batch.count(
            {key: found for key, found in wanted.items() if set_name(key[0]) == name}
        )
        yield ipset.create(name + suffix, version, size)


def _kept_lengths(before: Acceptance, after: Acceptance) -> Iterator[str]:
    """For lengths that go out of use in sets that stay."""
    for shape in before.shapes - after.shapes:
        if (name := set_name(shape)) in _sets(after):
            yield ipset.keep_length(name, shape.version, shape.length)


def _fill(sets: dict[str, int], wanted: Batch) -> None:
    ipset.restore((*_created(sets, {}), *_created(sets, wanted, NEW)))
    _exchange({}, wanted, NEW)


def _swapped(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield ipset.swap(name, name + NEW)
        yield ipset.destroy(name + NEW)


def _exchange(removed: Batch, added: Batch, suffix: str = "") -> None:
    """Additions first: a VIP of both is never without its mark."""
    if batch.count(removed) + batch.count(added) <= ipset.MANY:
        return ipset.restore(_lines(removed, added, suffix))
    for (shape, mark), found in added.items():
        members.add(set_name(shape) + suffix, shape.version, shape.length, mark, found)
    for (shape, _), found in removed.items():
        members.delete(set_name(shape) + suffix, shape.version, shape.length, found)
    return None


def _lines(removed: Batch, added: Batch, suffix: str) -> Iterator[str]:
    for entry in batch.entries(added):
        yield ipset.add(set_name(entry.shape) + suffix, _prefix(entry), entry.mark)
    for entry in batch.entries(removed):
        yield ipset.delete(set_name(entry.shape) + suffix, _prefix(entry))


def _prefix(entry: Entry) -> str:
    """As ipset prints it."""
    version, length = entry.shape.version, entry.shape.length
    text = socket.inet_ntop(FAMILY[version], entry.start.to_bytes(WIDTH[version], "big"))
    return text if length == BITS[version] else f"{text}/{length}"


def tables(acceptance: Acceptance) -> Tables:
    """Our chains in every table; none for an IP version that is not in use."""
    found: Tables = {}
    for version in VERSIONS if acceptance.active() else ():
        if sets := [name for name, v in _sets(acceptance).items() if v == version]:
            found[version, "filter"] = _filter(version, sets, acceptance.services)
            found[version, "mangle"] = _mangle(version, sets, acceptance.services)
            if acceptance.owner:
                found[version, "mangle"][OF + acceptance.owner] = []
            if pinged := [s for s in acceptance.services if s.ping]:
                found[version, "nat"] = _nat(version, pinged)
    return found


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


def _replies(sets: Iterable[str]) -> list[str]:
    """Resets are refusals. What IPVS sends has no VIP as source here, but behind it (-102).

    What SYNPROXY sends has no socket.
    """
    from_vips = (f"-m owner --socket-exists -m set --match-set {name} src -j DROP" for name in sets)
    return ["-p tcp -m tcp --tcp-flags RST RST -j RETURN", *from_vips]


def _lookup(name: str) -> str:
    return f"-j SET --map-set {name} dst --map-mark"


def _nat(version: int, services: Iterable[Service]) -> Chains:
    echo = f"{_icmp(version, ECHO_REQUEST[version])} -j REDIRECT"
    rules = [f"-p {ICMP[version]} {_marked(service)} {echo}" for service in services]
    return {"PREROUTING": [f"-j {CHAIN}"], CHAIN: rules}


def _filter(version: int, sets: list[str], services: tuple[Service, ...]) -> Chains:
    """ICMP errors must reach IPVS. A mark alone is not believed: others set some."""
    errors = [f"-p {ICMP[version]} {_icmp(version, kind)} -j RETURN" for kind in ERRORS[version]]
    to_vips = [f"-m set --match-set {name} dst -j {CHECK}" for name in sets]
    return {
        "INPUT": [f"-j {CHAIN}"],
        CHAIN: [*errors, *to_vips],
        CHECK: [
            *(rule for service in services for rule in _served(version, service)),
            *(f"-p {protocol} -j RETURN" for protocol in IPVS_TAKES),
            f"-j {REFUSE}",
        ],
        REFUSE: [
            *(f"{_marked(s)} -j DROP" for s in services if s.leftover is Leftover.DROP),
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
        numbers = [str(p.number) for p in service.ports if p.protocol == protocol]
        for at in range(0, len(numbers), PORTS_IN_A_RULE):
            ports = ",".join(numbers[at : at + PORTS_IN_A_RULE])
            yield f"-p {protocol} {_marked(service)} -m multiport --dports {ports} -j RETURN"


def _icmp(version: int, kind: int) -> str:
    return f"-m icmp --icmp-type {kind}" if version == 4 else f"-m icmp6 --icmpv6-type {kind}"


def _marked(service: Service) -> str:
    return f"-m mark --mark {service.fwmark:#x}"
