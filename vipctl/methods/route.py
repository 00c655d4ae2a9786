"""The `route` method: VIPs are local routes (AnyIP); LOCAL_IN marks them for IPVS.

Forwarded traffic pays nothing: there is no rule, and no chain that it passes. The tables:

    inet vipctl_route
        marking      LOCAL_IN, 96      destination → fwmark; one hash map per prefix length
        before_ipvs  LOCAL_IN, 97      takes the mark off packets for ports that the service does
                                       not name; refuses those of services without real servers
        after_ipvs   LOCAL_IN, 100     the guard: refuses packets for VIPs that IPVS did not take
    arp vipctl_route
        requests     ARP input         ignores requests for VIPs of services without --arp, and of
                                       passive ones

The routes are in table `local`, so the kernel takes VIPs for addresses of the director. It can send
ICMP errors from them. The director's own sockets would answer on them too: the guard prevents that.
And the kernel drops IPv4 answers that a real server (dr, tun) sends through the director: their
source, the VIP, is a martian.
"""

from collections.abc import Collection, Iterator
from functools import lru_cache

from vipctl.addresses.prefixes import network
from vipctl.linux.nftables import ruleset, tables, transactions
from vipctl.linux.nftables.ruleset import Chains
from vipctl.linux.nftables.tables import Work
from vipctl.linux.routing import localroutes
from vipctl.services import batch
from vipctl.services.batch import Batch
from vipctl.services.change import Acceptance, Entry
from vipctl.services.methods import METHODS
from vipctl.services.seal import OTHER, Seal
from vipctl.services.service import Service


def probe() -> tuple[str, ...]:
    tables.probe()
    return ()


def owner() -> str:
    return MARKS.owner()


def seal(acceptance: Acceptance) -> Seal:
    """The routes at both ends of a service's ranges stand for all of them."""
    found = [MARKS.seal(acceptance), SILENCE.seal(_requested(acceptance))]
    if OTHER in found or not all(map(localroutes.present, acceptance.witnesses)):
        return OTHER
    return Seal("".join(one.digest for one in found))


def unlike(acceptance: Acceptance) -> Iterator[str]:
    yield from MARKS.unlike(acceptance)
    yield from SILENCE.unlike(_requested(acceptance))
    for entry in acceptance.witnesses:
        if not localroutes.present(entry):
            prefix = network(entry.shape.version, entry.start, entry.shape.length)
            yield f"the local route of {prefix} is not there"


def marks(_version: int) -> bool:
    return MARKS.works(("marking",))


def apply(before: Acceptance, after: Acceptance, removed: Batch, added: Batch) -> int:
    """Marks are added before the routes, and removed after them."""
    old, new = _routes(removed), _routes(added)
    if not after.active():
        localroutes.delete(old)
        return tables.commit(*_replacing(after, {}))
    if not before.active():
        steps = tables.commit(*_replacing(after, added))
        localroutes.add(new)
        return steps
    moved, both = batch.also_in(removed, added), tables.both(before, after)
    steps = tables.commit(*_changing(before, both, moved, added))
    localroutes.add(localroutes.without(new, old))
    localroutes.delete(localroutes.without(old, new))
    return steps + tables.commit(*_changing(both, after, batch.without(removed, moved), {}))


def load(after: Acceptance, wanted: Batch) -> int:
    routes, present = _routes(wanted), localroutes.read()
    steps = tables.commit(*_replacing(after, wanted)) if after.active() else 0
    localroutes.add(localroutes.without(routes, present))
    localroutes.delete(localroutes.without(present, routes))
    return steps if after.active() else tables.commit(*_replacing(after, {}))


def epoch() -> str:
    """That of the marks: the kernel has no counter of routes."""
    return transactions.generation()


def holds(acceptance: Acceptance, wanted: Batch, since: str) -> bool:
    marked = since == epoch() or (
        MARKS.holds(acceptance, wanted) and SILENCE.holds(_requested(acceptance), _ipv4(wanted))
    )
    return marked and localroutes.are(localroutes.read(), _routes(wanted))


def has(entry: Entry, _since: str) -> bool:
    return localroutes.present(entry) and MARKS.has(entry)


def _routes(wanted: Batch) -> localroutes.Routes:
    return batch.by_shape({(shape.bare(), mark): wanted[shape, mark] for shape, mark in wanted})


def _changing(
    before: Acceptance, after: Acceptance, removed: Batch, added: Batch
) -> tuple[Work, Work]:
    old, new = _requested(before), _requested(after)
    quiet = SILENCE.changing(old, new, _ipv4(removed), _ipv4(added))
    return MARKS.changing(before, after, removed, added), quiet


def _replacing(after: Acceptance, wanted: Batch) -> tuple[Work, Work]:
    quiet = SILENCE.replacing(_requested(after), _ipv4(wanted))
    return MARKS.replacing(after, wanted), quiet


def _requested(acceptance: Acceptance) -> Acceptance:
    """The part that others ask for by ARP.

    All of it is in the table, with --arp too: then a director is made passive by its rules alone.
    """
    return acceptance._replace(
        shapes=frozenset(shape for shape in acceptance.shapes if shape.version == 4)
    )


def _ipv4(wanted: Batch) -> Batch:
    return {key: found for key, found in wanted.items() if key[0].version == 4}


@lru_cache(maxsize=ruleset.KEPT)
def chains(acceptance: Acceptance) -> Chains:
    if not acceptance.active():
        return {}
    acceptance = acceptance.one_by_one()
    guard = ruleset.guard(acceptance)
    if pinged := acceptance.answering_pings():
        marks = ruleset.marks(pinged)
        answered = [f"{marks} {kind} type echo-request accept" for kind in ("icmp", "icmpv6")]
        guard["leftover"] = ("", [*answered, *guard["leftover"][1]])
    return {
        **guard,
        "marking": ("filter hook input priority 96", ruleset.marking(acceptance)),
        **ruleset.checks_before_ipvs(acceptance),
        **ruleset.sent_by_director(acceptance),
    }


@lru_cache(maxsize=ruleset.KEPT)
def silent_chains(requested: Acceptance) -> Chains:
    """An address that services share is answered for if one with --arp is active.

    The mark is only to find the service: the kernel looks up routes for requests by it.
    """
    if not requested.active():
        return {}
    services, passive = requested.services, requested.one_by_one().passive
    silent = [s for s in services if s.silent]
    answered = [s for s in services if not s.silent and s.fwmark not in passive]
    rules = ["arp operation != request accept", *_requests(requested, silent, "drop")]
    if len(silent) + len(answered) < len(services):
        rules += _requests(requested, answered, "meta mark set 0 accept")
        rules += _requests(requested, services, "drop")
    return {"requests": ("filter hook input priority 0", [*rules, "meta mark set 0"])}


def _requests(requested: Acceptance, of: Collection[Service], verdict: str) -> list[str]:
    """Rules for requests for VIPs of these services."""
    return [
        f"meta mark set {ruleset.masked('arp daddr ip', shape)} map @{ruleset.map_name(shape)} "
        f"{ruleset.marks(of)} {verdict}"
        for shape in sorted(requested.shapes if of else ())
    ]


WITNESSED = True
SIZED = True
LOCAL = localroutes.RT_TABLE_LOCAL
ROUTED = True
SEARCHED = True
NAME = METHODS["route"].table
MARKS = tables.Table(NAME, chains, counts=METHODS["route"].counters)
SILENCE = tables.Table(NAME, silent_chains, family="arp")
counters = MARKS.packets
