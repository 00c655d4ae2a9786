"""Where a real packet of a client ended: `--watch`. Looked at is the first one that comes."""

from typing import NamedTuple

from vipctl.addresses.prefixes import IPAddress
from vipctl.diagnosis.case import Case
from vipctl.diagnosis.source import command
from vipctl.diagnosis.steps import Step, ill, unknown, well
from vipctl.linux.nftables import tracing
from vipctl.linux.nftables.tracing import BEFORE, BEHIND, CAME, ENTERED, LEAVES, PASSES, Event
from vipctl.linux.routing import ways
from vipctl.linux.routing.ways import Packet

NAME, DROPPED, ELSEWHERE = "watch", "packet-dropped", "packet-led-elsewhere"
ABOVE = "what the steps above say; if they say nothing, look at that"
ALL = "nft list ruleset"


class Watching(NamedTuple):
    """For how long a packet is waited for, and of whom, by which interface; None: anybody, any."""

    seconds: float
    client: IPAddress | None
    device: str | None


def step(case: Case, watching: Watching) -> Step:
    """Raises VipctlError."""
    if not case.asked.device:
        return unknown(NAME, "what the director itself sends is not watched: ask from elsewhere")
    events = tracing.first(_matches(case, watching), CAME, watching.seconds)
    return ended(case, watching, events)


def _matches(case: Case, watching: Watching) -> str:
    """Interfaces by their numbers: where rules are compiled there are none."""
    family, port = "ip" if case.version == 4 else "ip6", case.asked.port
    words = [f"{family} daddr {case.asked.vip} {port.protocol} dport {port.number}"]
    words += [f"{family} saddr {watching.client}"] if watching.client else []
    words += [f"iif {case.asked.device}"] if watching.device else []
    return " ".join(words)


def ended(case: Case, watching: Watching, events: list[Event]) -> Step:
    """What its way says. IPVS takes a packet away, and has it leave, or not."""
    seen = {event.milestone for event in events}
    if not events:
        return _missed(case, watching)
    if drops := [event for event in events if event.drops]:
        return _dropped(drops[0], seen)
    if PASSES in seen:
        says = f"a packet came, and was led elsewhere{_by(events)}: it was not for the director"
        return ill(NAME, ELSEWHERE, says, ABOVE, _route(case))
    if BEHIND in seen:
        return _behind(case)
    if LEAVES in seen:
        return well(NAME, f"a packet came, and IPVS sent it on{_by(events)}", ALL)
    return _lost(case, seen)


def _missed(case: Case, watching: Watching) -> Step:
    who = f"from {watching.client}" if watching.client else "for it"
    says = (
        f"no packet {who} came in {watching.seconds:g} s: nobody asked, or no router leads it here"
    )
    where = f" -i {case.asked.device_name}" if watching.device else ""
    return unknown(NAME, says, f"tcpdump -n{where} host {case.asked.vip}")


def _dropped(event: Event, seen: set[str]) -> Step:
    where = f"chain {event.table} {event.chain}"
    evidence = f"nft -a list {where}"
    if event.table.split()[1].startswith("vipctl"):
        why = "IPVS did not take it" if BEHIND in seen else "as it is stored"
        return ill(NAME, DROPPED, f"a packet came, and vipctl refused it: {why}", ABOVE, evidence)
    by = f"rule {event.rule} of" if event.rule else "the policy of"
    fix = "a rule before it that accepts such packets (docs/firewall.md)"
    return ill(NAME, DROPPED, f"a packet came, and {by} {where} dropped it", fix, evidence)


def _behind(case: Case) -> Step:
    if case.service.proxied:
        return well(NAME, "a packet came, and was given to a socket of the director", ALL)
    return ill(NAME, DROPPED, "a packet came, and IPVS did not take it", ABOVE, "vipctl status")


def _lost(case: Case, seen: set[str]) -> Step:
    if BEFORE in seen:
        return unknown(NAME, "a packet came to IPVS, and did not leave", "cat /proc/net/ip_vs_conn")
    if ENTERED in seen:
        says = "a packet came in, and did not come to IPVS: something but nftables dropped it"
        return ill(NAME, DROPPED, says, ABOVE, "iptables-legacy -S INPUT")
    says = "a packet came, and routing dropped it: its source is not valid, or it has no route"
    return ill(NAME, DROPPED, says, ABOVE, _route(case))


def _route(case: Case) -> str:
    asked = case.asked
    return command(Packet(asked.client, asked.device, asked.vip, case.mark, asked.port))


def _by(events: list[Event]) -> str:
    devices = [event.device for event in events if event.milestone == LEAVES and event.device]
    return f" by {ways.name_of(devices[-1])}" if devices else ""
