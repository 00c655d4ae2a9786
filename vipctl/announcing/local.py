"""What only this director has: where its routers are, and what it is beside its peers. Pure.

Options of `announce`, or a file that `apply` never reads.
"""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Any, NamedTuple

from vipctl.addresses.prefixes import IPAddress, address, parse_address, quoted, refuse_reserved
from vipctl.errors import UsageError
from vipctl.services.option import Option, amount, choice, switch, word, words
from vipctl.services.syntax import device, number, seconds

Interface = IPv4Interface | IPv6Interface  # an address and the length of its network
MOST_AS = 0xFFFFFFFE


class Preference(StrEnum):
    """Which of several directors routers are to prefer, of those that are there."""

    PRIMARY = "primary"
    BACKUP = "backup"
    EQUAL = "equal"


class Neighbor(NamedTuple):
    """A router that speaks BGP."""

    address: IPAddress
    number: int  # of its autonomous system


class Local(NamedTuple):
    """What is not named has no value, or the usual one."""

    preference: Preference = Preference.PRIMARY
    track: str = ""
    interface: str = ""
    next_hops: tuple[Interface, ...] = ()
    gateways: tuple[Interface, ...] = ()
    gateway_interface: str = ""
    vrid: int = 51
    advert: float = 1.0
    local_as: int = 0
    neighbors: tuple[Neighbor, ...] = ()
    bfd: bool = True
    notify: str = ""


def made(given: Mapping[str, Any]) -> Local:
    return Local(**given)


def _interface(text: str) -> Interface:
    """ADDRESS/LENGTH. Raises UsageError, or Refused."""
    head, slash, tail = text.partition("/")
    version, value = parse_address(head)
    longest = 32 if version == 4 else 128
    if not slash:
        raise UsageError(
            f"{quoted(text)} has no length of a network", hint=f"such as {head}/{longest - 8}"
        )
    length = number(tail, "prefix length", 1, longest)
    found = ip_interface(f"{address(version, value)}/{length}")
    if not found.is_link_local:
        refuse_reserved(text, version, (value, value), "name one of the director's network")
    return found


def _interfaces(texts: Sequence[str]) -> tuple[Interface, ...]:
    """Link-local ones first, as VRRP has them."""
    found = {_interface(text) for text in texts}
    return tuple(sorted(found, key=lambda f: (f.version, not f.is_link_local, f.ip.packed)))


def _neighbor(text: str) -> Neighbor:
    head, _, tail = text.partition(",as=")
    if not tail:
        raise UsageError(
            f"{quoted(text)} is not a neighbour", hint="write 10.0.0.1,as=64500: address and AS"
        )
    version, value = parse_address(head)
    refuse_reserved(text, version, (value, value), "name the router's address")
    return Neighbor(address(version, value), number(tail, "AS number", 1, MOST_AS))


def _neighbors(texts: Sequence[str]) -> tuple[Neighbor, ...]:
    found = {n.address: n for n in map(_neighbor, texts)}
    return tuple(sorted(found.values(), key=lambda n: (n.address.version, n.address.packed)))


def _advert(value: str | float) -> float:
    return seconds(value, 0.05, 40.0)


def _fifo(text: str) -> str:
    if not re.fullmatch(r"/[\w./-]+", text, re.ASCII):
        raise UsageError(f"{quoted(text)} is not a path of a FIFO", hint="such as /run/vipctl/vrrp")
    return text


OPTIONS: dict[str, Option] = {  # by field of Local
    "preference": choice(
        "Of several directors a primary (the default) gets the packets, a backup while there is no "
        "primary, equal ones share them (BGP, by the router's ECMP).",
        Preference,
    ),
    "track": word(
        "A device that goes away when this director is not to be chosen, such as that of "
        "vipctl watch --alive.", "DEVICE", device,
    ),
    "interface": word("keepalived: the interface on the router's link.", "DEVICE", device),
    "next_hops": words(
        "keepalived: the address to which the router sends what is for VIPs; repeat.",
        "ADDRESS/LENGTH", _interfaces, _interface, flag="--next-hop",
    ),
    "gateway_interface": word(
        "keepalived: the interface on the link of real servers (nat).", "DEVICE", device
    ),
    "gateways": words(
        "keepalived: the address to which real servers (nat) send their answers; repeat.",
        "ADDRESS/LENGTH", _interfaces, _interface, flag="--gateway",
    ),
    "vrid": amount(
        "keepalived: VRRP's number of the next hop; default 51, and the gateway's is one more.",
        "number of VRRP", "NUMBER", 1, 254,
    ),
    "advert": Option(
        "keepalived: the director says so often that it is there; default 1.",
        object, _advert, float, "SECONDS",
    ),
    "local_as": amount("BGP: the director's autonomous system.", "AS number", "AS", 1, MOST_AS),
    "neighbors": words(
        "BGP: a router and its autonomous system; repeat.",
        "ADDRESS,as=AS", _neighbors, _neighbor, flag="--neighbor",
    ),
    "notify": word(
        "keepalived: a FIFO to which it tells its state, for vipctl watch --vrrp.", "FIFO", _fifo
    ),
    "bfd": switch("BGP: find out by BFD, too, that a neighbour is gone; default yes."),
}  # fmt: skip
