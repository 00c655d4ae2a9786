"""The `route` method: VIPs are local routes (AnyIP); LOCAL_IN marks them for IPVS.

Forwarded traffic pays nothing: there is no rule, and no chain that it passes. The tables:

    inet vipctl_route
        marking      LOCAL_IN, 96      destination → fwmark; one hash map per prefix length
        before_ipvs  LOCAL_IN, 97      takes the mark off packets for ports that the service does
                                       not name; refuses those of services without real servers
        after_ipvs   LOCAL_IN, 100     the guard: refuses packets for VIPs that IPVS did not take
    arp vipctl_route
        requests     ARP input         ignores requests for VIPs of services without --arp

The routes are in table `local`, so the kernel takes VIPs for addresses of the director. It can send
ICMP errors from them. The director's own sockets would answer on them too: the guard prevents that.
And the kernel drops IPv4 answers that a real server (dr, tun) sends through the director: their
source, the VIP, is a martian.
"""

from functools import lru_cache

from vipctl.linux.nftables import ruleset, tables, transactions
from vipctl.linux.nftables.ruleset import Chains
from vipctl.linux.nftables.tables import Work
from vipctl.linux.routing import localroutes
from vipctl.services import batch
from vipctl.services.batch import Batch
from vipctl.services.change import Acceptance, Entry
from vipctl.services.methods import METHODS
from vipctl.services.seal import OTHER, Seal


def probe() -> tuple[str, ...]:
    tables.probe()
    return ()


def owner() -> str:
    return MARKS.owner()


def seal(acceptance: Acceptance) -> Seal:
    """The routes at both ends of a service's ranges stand for all of them."""
    found = [MARKS.seal(acceptance), SILENCE.seal(_silent(acceptance))]
    if OTHER in found or not all(map(localroutes.present, acceptance.witnesses)):
        return OTHER
    return Seal("".join(one.digest for one in found))


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
    silent = _silent(acceptance)
    marked = since == epoch() or (
        MARKS.holds(acceptance, wanted) and SILENCE.holds(silent, _of(silent, wanted))
    )
    return marked and localroutes.are(localroutes.read(), _routes(wanted))


def has(entry: Entry, _since: str) -> bool:
    return localroutes.present(entry) and MARKS.has(entry)


def _routes(wanted: Batch) -> localroutes.Routes:
    return batch.by_shape({(shape.bare(), mark): wanted[shape, mark] for shape, mark in wanted})


def _changing(
    before: Acceptance, after: Acceptance, removed: Batch, added: Batch
) -> tuple[Work, Work]:
    old, new = _silent(before), _silent(after)
    quiet = SILENCE.changing(old, new, _of(old, removed), _of(new, added))
    return MARKS.changing(before, after, removed, added), quiet


def _replacing(after: Acceptance, wanted: Batch) -> tuple[Work, Work]:
    silent = _silent(after)
    return MARKS.replacing(after, wanted), SILENCE.replacing(silent, _of(silent, wanted))


def _silent(acceptance: Acceptance) -> Acceptance:
    """The part whose VIPs are not answered for by ARP."""
    return acceptance._replace(
        services=tuple(s for s in acceptance.services if s.silent),
        shapes=frozenset(shape for shape in acceptance.shapes if shape.version == 4),
    )


def _of(silent: Acceptance, wanted: Batch) -> Batch:
    marks = {service.fwmark for service in silent.services}
    return {
        (shape, mark): found
        for (shape, mark), found in wanted.items()
        if shape.version == 4 and mark in marks
    }


@lru_cache(maxsize=ruleset.KEPT)
def chains(acceptance: Acceptance) -> Chains:
    if not acceptance.active():
        return {}
    guard = ruleset.guard(acceptance)
    if pinged := [s for s in acceptance.services if s.ping]:
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
def silent_chains(silent: Acceptance) -> Chains:
    if not silent.active():
        return {}
    return {
        "requests": (
            "filter hook input priority 0",
            [
                f"arp operation request meta mark set {ruleset.masked('arp daddr ip', shape)} "
                f"map @{ruleset.map_name(shape)} drop"
                for shape in sorted(silent.shapes)
            ],
        )
    }


WITNESSED = True
SIZED = True
LOCAL = localroutes.RT_TABLE_LOCAL
ROUTED = True
NAME = METHODS["route"].table
MARKS = tables.Table(NAME, chains)
SILENCE = tables.Table(NAME, silent_chains, family="arp")
