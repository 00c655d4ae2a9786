"""The `fwmark-iptables` method: as `fwmark`, with legacy iptables and ipset instead of nftables.

One set for each IP version and plane, `vipctl4`, `vipctl4_p1`, from prefix to mark, and chains of
our own, drawn by `ruleset`:

    mangle PREROUTING   VIPCTL         destination → fwmark
    nat    PREROUTING   VIPCTL         echo requests of services with --ping go to the director
    mangle INPUT        VIPCTL-PORTS   where services share VIPs: whose port is it?
    mangle OUTPUT       VIPCTL-OWN     the director's own packets for VIPs
                        VIPCTL-REPLIES the director's own sockets do not answer from VIPs (IPv6)
    mangle              VIPCTL-OF-…    empty; its name tells the state directory
    filter INPUT        VIPCTL         refuses other ports, services without servers, and what IPVS
                                       never takes: other protocols, ICMP but for errors;
                                       VIPCTL-REFUSE counts that for each service
    filter OUTPUT       VIPCTL-SENT    takes the mark off what IPVS sends on (see `fwmark`)

Legacy tables have no hook behind IPVS (98, 99 at LOCAL_IN), so there is no guard. What begins a
connection to a port that no service names is refused before IPVS, though it may be one that IPVS
waits for (FTP's passive data). Packets of an open TCP connection only lose their mark: IPVS finds
the connection, or TCP answers that it has none.

While the IPVS service of a mark is missing, packets that pass these rules reach the director's own
sockets: UDP and SCTP sockets bound to no address get them. Their answers do not leave, nor do TCP's
but resets. For IPv4 the kernel sends nothing whose source is not in table `local`, except from
transparent sockets; for IPv6 VIPCTL-REPLIES drops it.

An IPv4 packet whose TTL ends here is not accepted. It is routed as if it were not for a VIP, so
that the kernel's forwarding tells its sender, from the director's address.
"""

import re
import socket
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress

from vipctl.addresses.few import BITS, WIDTH
from vipctl.addresses.prefixes import AF, VERSIONS
from vipctl.errors import Missing
from vipctl.linux.iptables import ipset, legacy, members, ruleset
from vipctl.linux.iptables.ruleset import Tables
from vipctl.linux.routing import fwmarks
from vipctl.linux.routing.fwmarks import Block
from vipctl.services import batch
from vipctl.services.batch import Batch
from vipctl.services.change import NOTHING, Acceptance, Entry
from vipctl.services.methods import METHODS
from vipctl.services.seal import ABSENT, OTHER, Seal

WITNESSED = True
SIZED = False
ROUTED = True
SEARCHED = True
BLOCK = Block.of(METHODS["fwmark-iptables"])
LOCAL = BLOCK.table
OUR_SETS = re.compile(r"vipctl[46](_p\d+)?(_new)?")
NEW = "_new"  # a set that is being filled
GUARDING = ("filter", "nat")
MARKING = ("mangle",)


def probe() -> Iterator[str]:
    notes = legacy.probe()
    ipset.probe()
    return notes


def owner() -> str:
    if not _our_sets():
        return ""
    chains = [chain for version in VERSIONS for chain in legacy.read(version, "mangle")]
    return next((c.removeprefix(ruleset.OF) for c in chains if c.startswith(ruleset.OF)), "")


def seal(acceptance: Acceptance) -> Seal:
    """Our rules need our sets: tables are only read where there are sets.

    The members at both ends of a service's ranges stand for all of them.
    """
    sets = sorted(ruleset.sets_of(acceptance))
    if fwmarks.read(BLOCK) != BLOCK.accepting(acceptance) or sorted(_our_sets()) != sets:
        return OTHER
    if not acceptance.active():
        return ABSENT
    if not all(map(_present, acceptance.witnesses)) or _read() != ruleset.tables(acceptance):
        return OTHER
    return Seal(" ".join(sets))


def unlike(acceptance: Acceptance) -> Iterator[str]:
    yield from fwmarks.unlike(BLOCK, acceptance)
    present, sets = _our_sets(), ruleset.sets_of(acceptance)
    yield from (f"the ipset {name} is not there" for name in sorted(sets.keys() - present))
    yield from (f"the ipset {name} is not vipctl's" for name in sorted(present - sets.keys()))
    if sets.keys() <= present:
        for entry in acceptance.witnesses:
            if not _present(entry):
                yield f"the ipset {ruleset.set_name(entry.shape)} lacks {_prefix(entry)}"
    wanted, found = ruleset.tables(acceptance), _read()
    for version, table in sorted(wanted.keys() | found.keys()):
        if wanted.get((version, table)) != found.get((version, table)):
            yield f"vipctl's chains in table {table} of legacy iptables (IPv{version})"


def marks(version: int) -> bool:
    return ruleset.works(legacy.read(version, "mangle"))


def counters() -> dict[int, dict[str, int]]:
    """Of what is refused: rules that count what is accepted would be passed by every packet."""
    found = Counter[int]()
    for version in VERSIONS:
        for rule, packets in legacy.counted(version, "filter", ruleset.REFUSE).items():
            if (mark := ruleset.refused_mark(rule)) is not None:
                found[mark] += packets
    return {mark: {"left_over": packets} for mark, packets in found.items()}


def _present(entry: Entry) -> bool:
    version, length = entry.shape.version, entry.shape.length
    address = entry.start.to_bytes(WIDTH[version], "big")
    return members.present(ruleset.set_name(entry.shape), version, length, address)


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
        ipset.restore(_created(_without(ruleset.sets_of(after), ruleset.sets_of(before)), added))
        ipset.restore(_kept_lengths(before, after))
        if ruleset.tables(during) != ruleset.tables(before):
            _enforce(during)
        stale = _without(ruleset.sets_of(before), ruleset.sets_of(after))
        kept = {
            key: found for key, found in removed.items() if ruleset.set_name(key[0]) not in stale
        }
        _exchange(batch.elsewhere(kept, added), added)
        if ruleset.tables(after) != ruleset.tables(during):
            _enforce(after)
        ipset.restore(map(ipset.destroy, stale))
    return 0


def load(after: Acceptance, wanted: Batch) -> int:
    """Fills new sets and swaps them with those that the rules use."""
    present, sets = _our_sets(), ruleset.sets_of(after)
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
    """Removes sets that a killed command left half-filled, and those that cannot be swapped."""
    found = ipset.headers() if present else {}
    unfit = [n for n in found.keys() & wanted.keys() if not found[n].fits(wanted[n])]
    if unfit:
        _enforce(NOTHING)
    half_filled = [name for name in present if name.endswith(NEW)]
    ipset.restore(map(ipset.destroy, (*unfit, *half_filled)))


def epoch() -> str:
    return ""


def holds(acceptance: Acceptance, wanted: Batch, since: str) -> bool:
    sets: dict[str, members.Members] = {name: {} for name in ruleset.sets_of(acceptance)}
    for (shape, mark), addresses in wanted.items():
        sets[ruleset.set_name(shape)][shape.length, mark] = addresses
    return _our_sets() == sets.keys() and all(
        batch.same(WIDTH[version], members.read(name, version), sets[name])
        for name, version in ruleset.sets_of(acceptance).items()
    )


def has(entry: Entry, _since: str) -> bool:
    return _present(entry)


def _together(before: Acceptance, after: Acceptance) -> Acceptance:
    """Both states at once, so that neither's packets are refused or let through meanwhile."""
    marks = {service.fwmark for service in after.services}
    gone = tuple(service for service in before.services if service.fwmark not in marks)
    return after._replace(
        services=after.services + gone,
        shapes=before.shapes | after.shapes,
        passive=before.passive | after.passive,
    )


def _enforce(acceptance: Acceptance, names: tuple[str, ...] = (*GUARDING, *MARKING)) -> None:
    """Replaces our chains: refusing ones are added before marking ones, and removed after."""
    wanted = ruleset.tables(acceptance)
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


def _without(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
    return {name: version for name, version in left.items() if name not in right}


def _created(sets: dict[str, int], wanted: Batch, suffix: str = "") -> Iterator[str]:
    for name, version in sets.items():
        size = batch.count(
            {key: found for key, found in wanted.items() if ruleset.set_name(key[0]) == name}
        )
        yield ipset.create(name + suffix, version, size)


def _kept_lengths(before: Acceptance, after: Acceptance) -> Iterator[str]:
    """The lines for prefix lengths that go out of use in sets that stay."""
    for shape in before.shapes - after.shapes:
        if (name := ruleset.set_name(shape)) in ruleset.sets_of(after):
            yield ipset.keep_length(name, shape.version, shape.length)


def _fill(sets: dict[str, int], wanted: Batch) -> None:
    ipset.restore((*_created(sets, {}), *_created(sets, wanted, NEW)))
    _exchange({}, wanted, NEW)


def _swapped(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield ipset.swap(name, name + NEW)
        yield ipset.destroy(name + NEW)


def _exchange(removed: Batch, added: Batch, suffix: str = "") -> None:
    """Additions come first: a VIP in both batches always has a mark."""
    if batch.count(removed) + batch.count(added) <= ipset.MOST_IN_WORDS:
        return ipset.restore(_lines(removed, added, suffix))
    for (shape, mark), found in added.items():
        members.add(ruleset.set_name(shape) + suffix, shape.version, shape.length, mark, found)
    for (shape, _), found in removed.items():
        members.delete(ruleset.set_name(shape) + suffix, shape.version, shape.length, found)
    return None


def _lines(removed: Batch, added: Batch, suffix: str) -> Iterator[str]:
    for entry in batch.entries(added):
        yield ipset.add(ruleset.set_name(entry.shape) + suffix, _prefix(entry), entry.mark)
    for entry in batch.entries(removed):
        yield ipset.delete(ruleset.set_name(entry.shape) + suffix, _prefix(entry))


def _prefix(entry: Entry) -> str:
    """As ipset prints it."""
    version, length = entry.shape.version, entry.shape.length
    text = socket.inet_ntop(AF[version], entry.start.to_bytes(WIDTH[version], "big"))
    return text if length == BITS[version] else f"{text}/{length}"
