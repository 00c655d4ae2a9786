"""The `tproxy` method: a transparent proxy on the director gets the packets (haproxy, envoy).

The table, drawn by `chains`:

    ping         PREROUTING, -100     echo requests of services with --ping go to the director
    prerouting   PREROUTING, -90      destination → mark → the service's listener, or a refusal

The listener (IP_TRANSPARENT) sees the client's address and the VIP. A packet without a listener is
refused in PREROUTING, or dropped if its source may not be answered: no packet for a VIP reaches
another socket of the director.

Where the proxy connects to the servers from the client's address (haproxy's `usesrc clientip`),
their answers are addressed to the client. A rule keeps those here for which there is a connected
transparent socket. It comes after the rules for VIPs: a UDP proxy answers from a socket that is
bound to a VIP, and not connected.
"""

from collections.abc import Iterator
from functools import lru_cache

from vipctl.linux.nftables import ruleset, tables
from vipctl.linux.nftables.ruleset import Chains
from vipctl.linux.routing.fwmarks import Block
from vipctl.methods.marking import Marking
from vipctl.services.change import Acceptance
from vipctl.services.methods import METHODS
from vipctl.services.service import Service

BLOCK = Block.of(METHODS["tproxy"])
ERRORS = {
    "icmp": "{ destination-unreachable, time-exceeded, parameter-problem }",
    "icmpv6": "{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }",
}


@lru_cache(maxsize=ruleset.KEPT)
def chains(acceptance: Acceptance) -> Chains:
    if not acceptance.active():
        return {}
    acceptance = acceptance.one_by_one()
    services = acceptance.services
    return {
        **_refusing(acceptance),
        "accepted": ("", [ruleset.counting(ruleset.ACCEPTED, services), "accept"]),
        "proxied": ("", _proxied(acceptance)),
        "prerouting": (
            "filter hook prerouting priority dstnat + 10",
            [
                *(f"{lookup} jump proxied" for lookup in ruleset.lookups(acceptance)),
                f"{ruleset.marks(services)} jump still_vip",
                _answers_to_the_proxy(services),
            ],
        ),
        **ruleset.pings_redirected(acceptance),
    }


def _refusing(acceptance: Acceptance) -> Chains:
    """Drops if no route leads to the source. Takes the mark off, by which the answer is local."""
    found = ruleset.refusal(acceptance)
    *quiet, reset, unreachable = found["leftover"][1]
    refused = ruleset.counting(ruleset.REFUSED, acceptance.services)
    rules = [
        f"fib saddr type != unicast {refused} drop",
        *quiet,
        "meta mark set 0",
        reset,
        unreachable,
    ]
    return {**found, "leftover": ("", rules)}


def _answers_to_the_proxy(services: tuple[Service, ...]) -> str:
    mark = services[0].fwmark
    return f"meta mark 0 socket transparent 1 socket wildcard 0 meta mark set {mark:#x} accept"


def _proxied(acceptance: Acceptance) -> list[str]:
    """Accepts what has a listener, errors of its connections, and pings; returns the rest."""
    rules = [f"{kind} type {types} goto accepted" for kind, types in ERRORS.items()]
    if pinged := acceptance.answering_pings():
        marks = ruleset.marks(pinged)
        rules += [f"{marks} {kind} type echo-request goto accepted" for kind in ERRORS]
    return rules + [
        f"meta mark {service.fwmark:#x} {_ports(service, protocol)} {verdict}"
        for service in acceptance.services
        for protocol in _protocols(service)
        for verdict in (
            ["drop"]
            if service.fwmark in acceptance.passive
            else [f"{listener} goto accepted" for listener in _listeners(service)]
        )
    ]


def _protocols(service: Service) -> list[str]:
    named = {port.protocol for port in service.ports}
    return [p for p in ("tcp", "udp") if not named or p in named]


def _ports(service: Service, protocol: str) -> str:
    numbers = [port.text for port in service.ports if port.protocol == protocol]
    return f"{protocol} dport {ruleset.words(numbers)}" if numbers else f"meta l4proto {protocol}"


def _listeners(service: Service) -> Iterator[str]:
    """One statement for each IP version, with its address if one is given; one without for any."""
    named = {address.version: address for address in service.value("to_addresses")}
    if not named:
        yield f"tproxy to :{service.value('to_port')}"
        return
    for version, family in ruleset.PROTOCOL_NAME.items():
        host = "" if version not in named else str(named[version])
        host = f"[{host}]" if version == 6 and host else host
        yield f"tproxy {family} to {host}:{service.value('to_port')}"


WITNESSED = False
SIZED = True
LOCAL = BLOCK.table
ROUTED = True
SEARCHED = True
TABLE = tables.Table(METHODS["tproxy"].table, chains, counts=METHODS["tproxy"].counters)
_METHOD = Marking(TABLE, BLOCK, ("prerouting", "proxied"))
probe, owner, seal, apply = _METHOD.probe, _METHOD.owner, _METHOD.seal, _METHOD.apply
load, epoch, holds = _METHOD.load, _METHOD.epoch, _METHOD.holds
has, reroute, unlike, marks = _METHOD.has, _METHOD.reroute, _METHOD.unlike, _METHOD.marks
counters = TABLE.packets
