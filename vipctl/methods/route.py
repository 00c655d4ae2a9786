"""The `route` method: VIPs are local routes (AnyIP); LOCAL_IN marks them for IPVS.

Forwarded traffic pays nothing: there is no rule, and no chain that it passes. The tables:

    inet vipctl_route
        marking      LOCAL_IN, 96      destination → fwmark; one hash map per prefix length
        before_ipvs  LOCAL_IN, 97      ports of services that name some; services without servers
        after_ipvs   LOCAL_IN, 100     the guard: what is still for a VIP here, IPVS did not take
    arp vipctl_route
        requests     ARP input         ignores requests for VIPs of services without --arp

The routes are in table `local`, where the kernel also finds the source of what it says itself: all
of its ICMP errors are sent. There too a VIP would be the director's own: the guard keeps it from
the director's sockets. In IPv4 the source of an answer that a real server (dr, tun) sends through
the director is a martian.
"""

import hashlib
from collections.abc import Iterable, Iterator

from vipctl import localroutes, nft, ruleset
from vipctl.localroutes import Prefix
from vipctl.model import Acceptance, Entry
from vipctl.ruleset import Chains


def probe() -> tuple[str, ...]:
    nft.declared(MARKS.name)
    return ()


def seal(acceptance: Acceptance) -> str | None:
    """A route of each end of a service's ranges stands for all of them."""
    found = [MARKS.seal(acceptance), SILENCE.seal(_silent(acceptance))]
    if None in found or not all(map(localroutes.present, map(_prefix, acceptance.witnesses))):
        return None
    words = "".join(filter(None, found))
    return hashlib.sha256(words.encode()).hexdigest() if words else ""


def apply(
    before: Acceptance, after: Acceptance, removed: Iterable[Entry], added: Iterable[Entry]
) -> None:
    """Marks come before their routes, and go after them."""
    gone, come = set(removed), set(added)
    old, new = set(map(_prefix, gone)), set(map(_prefix, come))
    if not after.active():
        localroutes.delete(old)
        return nft.run(_replacing(after, ()))
    if not before.active():
        nft.run(_replacing(after, come))
        return localroutes.add(new)
    moved = {e for e in gone if _prefix(e) in new}
    stay = {service.fwmark for service in after.services}
    leaving = [service for service in before.services if service.fwmark not in stay]
    both = Acceptance((*leaving, *after.services), before.shapes | after.shapes)
    nft.run(_changing(before, both, moved, come))
    localroutes.add(new - old)
    localroutes.delete(old - new)
    nft.run(_changing(both, after, gone - moved, ()))
    return None


def load(after: Acceptance, entries: Iterable[Entry]) -> None:
    wanted = list(entries)
    routes, present = set(map(_prefix, wanted)), localroutes.read()
    if after.active():
        nft.run(_replacing(after, wanted))
    localroutes.add(routes - present)
    localroutes.delete(present - routes)
    if not after.active():
        nft.run(_replacing(after, ()))


def holds(acceptance: Acceptance, entries: Iterator[Entry]) -> bool:
    wanted = list(entries)
    silent = _silent(acceptance)
    return (
        localroutes.read() == set(map(_prefix, wanted))
        and MARKS.holds(acceptance, iter(wanted))
        and SILENCE.holds(silent, iter(_of(silent, wanted)))
    )


def _changing(
    before: Acceptance, after: Acceptance, removed: Iterable[Entry], added: Iterable[Entry]
) -> str:
    old, new = _silent(before), _silent(after)
    quiet = SILENCE.changing(old, new, _of(old, removed), _of(new, added))
    return MARKS.changing(before, after, removed, added) + quiet


def _replacing(after: Acceptance, entries: Iterable[Entry]) -> str:
    silent, wanted = _silent(after), list(entries)
    return MARKS.replacing(after, wanted) + SILENCE.replacing(silent, _of(silent, wanted))


def _silent(acceptance: Acceptance) -> Acceptance:
    """The part for which ARP is not answered."""
    return Acceptance(
        tuple(s for s in acceptance.services if not s.arp),
        frozenset(shape for shape in acceptance.shapes if shape.version == 4),
    )


def _of(silent: Acceptance, entries: Iterable[Entry]) -> list[Entry]:
    marks = {service.fwmark for service in silent.services}
    return [e for e in entries if e.shape.version == 4 and e.mark in marks]


def _prefix(entry: Entry) -> Prefix:
    return Prefix(entry.shape.version, entry.start, entry.shape.length, entry.shape.plane)


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
        "marking": ("filter hook input priority 96", ruleset.lookups(acceptance)),
        **ruleset.checks_before_ipvs(acceptance),
    }


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


MARKS = nft.Table("vipctl_route", chains)
SILENCE = nft.Table("vipctl_route", silent_chains, family="arp")
