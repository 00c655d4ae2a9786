"""Policy-routing rules, routes and the director's own addresses, over rtnetlink.

What is ours carries PROTOCOL; nothing else is ever changed.
"""

import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import NamedTuple

from vipctl import localroutes, log, netlink
from vipctl.errors import KernelError
from vipctl.localroutes import PROTOCOL, RTM_DELROUTE, RTM_NEWROUTE
from vipctl.model import MARK_MASK, MARK_VALUE, Acceptance
from vipctl.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, attribute
from vipctl.prefixes import FAMILY, VERSIONS, IPAddress
from vipctl.spans import BITS

PRIORITIES = range(4300, 4400)  # of all blocks: before Tailscale's 5210, after a VRF's 1000


# include/uapi/linux/fib_rules.h
FR_ACT_TO_TBL, FR_ACT_GOTO, FR_ACT_NOP = 1, 2, 3
FRA_IIFNAME, FRA_GOTO, FRA_PRIORITY, FRA_FWMARK = 3, 4, 6, 10
FRA_TABLE, FRA_FWMASK, FRA_L3MDEV, FRA_PROTOCOL = 15, 16, 19, 21
RULE = struct.Struct("=BBBBBxxBI")  # family, lengths, tos, table, action, flags
L3MDEV = 0  # our name for the action of the kernel's own rule for VRFs
# include/uapi/linux/rtnetlink.h and if_addr.h
RTM_GETADDR, RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 22, 32, 33, 34
RTPROT_RA = 9
RTA_GATEWAY, RTA_MULTIPATH, RTA_VIA = 5, 9, 18
IFA_ADDRESS, IFA_LOCAL = 1, 2
ADDRESS = struct.Struct("=BBBBI")  # family, length, flags, scope, interface
NEXT_HOP_SIZE = 8  # struct rtnexthop
# Only a default route leads there: "this network" and the discard prefix.
NOWHERE = {4: ip_address("0.0.0.1"), 6: ip_address("100::")}


class Rule(NamedTuple):
    version: int
    priority: int
    action: int
    mark: int = 0
    mask: int = 0
    table: int = 0
    goto: int = 0
    iif: str = ""

    def __str__(self) -> str:
        action = {FR_ACT_TO_TBL: f"lookup {self.table}", FR_ACT_GOTO: f"goto {self.goto}"}
        words = [f"ip -{self.version} rule pref {self.priority}"]
        words += [f"fwmark {self.mark:#x}/{self.mask:#x}"] if self.mask else []
        words += [f"iif {self.iif}"] if self.iif else []
        return " ".join([*words, action.get(self.action, "nop")])


class LocalDefault(NamedTuple):
    """`local default dev lo` in a table of ours."""

    version: int
    table: int

    def __str__(self) -> str:
        return f"ip -{self.version} route local default dev lo table {self.table}"


Owned = Rule | LocalDefault


class Block(NamedTuple):
    """What one method has to itself: three rule priorities, the first given, and a table."""

    priority: int
    table: int

    def accepting(self, acceptance: Acceptance) -> set[Owned]:
        """Rules and routes that make packets with these services' marks local."""
        masked = {_masked(service.fwmark) for service in acceptance.services}
        return {
            item
            for version in VERSIONS
            if masked and acceptance.has(version)
            for item in self._accepting(version, sorted(masked))
        }

    def _accepting(self, version: int, marks: list[tuple[int, int]]) -> set[Owned]:
        """The `goto` keeps reverse-path lookups out, which come from `lo`.

        Where src_valid_mark is set these carry the packet's mark, would find every source local,
        and all packets be martians. The target's own mark is nothing to a jump, which goes on
        behind it in any case; other lookups pass it sooner.
        """
        skip, accept, end = self.priorities
        target = Rule(version, end, FR_ACT_NOP, MARK_VALUE, MARK_MASK)
        owned: set[Owned] = {LocalDefault(version, self.table), target}
        for mark, mask in marks:
            owned.add(Rule(version, skip, FR_ACT_GOTO, mark, mask, goto=end, iif="lo"))
            owned.add(Rule(version, accept, FR_ACT_TO_TBL, mark, mask, table=self.table))
        return owned

    @property
    def priorities(self) -> range:
        return range(self.priority, self.priority + 3)


def _masked(mark: int) -> tuple[int, int]:
    """The whole block of vipctl's marks needs one rule."""
    if mark & MARK_MASK == MARK_VALUE:
        return MARK_VALUE, MARK_MASK
    return mark, 0xFFFFFFFF


def read(block: Block) -> set[Owned]:
    """The rules and routes that are ours in this block."""
    found: set[Owned] = {
        rule
        for rule, protocol in _rules()
        if protocol == PROTOCOL and rule.priority in block.priorities
    }
    defaults = (LocalDefault(v, block.table) for v in VERSIONS)
    return found | {d for d in defaults if localroutes.has_default(d.version, d.table)}


@contextmanager
def changing(block: Block, wanted: set[Owned]) -> Iterator[None]:
    """What is to be accepted is so before the body runs, what is not only after it.

    If the body fails, all is as it was.
    """
    present = read(block)
    try:
        add(wanted - present)
        yield
    except BaseException:
        delete(read(block) - present)
        raise
    delete(present - wanted)


def ahead() -> list[str]:
    """Other people's rules that come before ours and may send packets for VIPs elsewhere."""
    return [
        f"ip -{rule.version} rule pref {rule.priority}"
        for rule, _ in sorted(_rules())
        if 0 < rule.priority < PRIORITIES.start and rule.action != L3MDEV
    ]


def _rules() -> Iterator[tuple[Rule, int]]:
    """All there are, anybody's, and whose they are: their protocol number."""
    with netlink.connect() as link:
        for version in VERSIONS:
            request = RULE.pack(FAMILY[version], 0, 0, 0, 0, 0, 0)
            for content in netlink.dump(link, RTM_GETRULE, request):
                # Where IPv6 is disabled, the kernel answers for it with all that it has.
                if content[0] == FAMILY[version]:
                    yield _rule(version, content)


def _rule(version: int, content: bytes) -> tuple[Rule, int]:
    found = dict(netlink.attributes(content, RULE.size))
    numbers = (FRA_PRIORITY, FRA_FWMARK, FRA_FWMASK, FRA_TABLE, FRA_GOTO)
    priority, mark, mask, table, goto = (_number(found.get(kind, b"")) for kind in numbers)
    action = L3MDEV if _number(found.get(FRA_L3MDEV, b"")) else RULE.unpack_from(content)[5]
    iif = found.get(FRA_IIFNAME, b"").rstrip(b"\0").decode(errors="replace")
    rule = Rule(version, priority, action, mark, mask, table, goto, iif)
    return rule, _number(found.get(FRA_PROTOCOL, b""))


def _number(packed: bytes) -> int:
    return int.from_bytes(packed, sys.byteorder)


def add(owned: set[Owned]) -> None:
    """Routes before rules, so that no packet meets a rule whose table is empty."""
    flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL
    _change(
        "add", flags, sorted(owned, key=_order), {Rule: RTM_NEWRULE, LocalDefault: RTM_NEWROUTE}
    )


def delete(owned: set[Owned]) -> None:
    """In the reverse order of `add`."""
    backwards = sorted(owned, key=_order, reverse=True)
    _change("del", NLM_F_ACK, backwards, {Rule: RTM_DELRULE, LocalDefault: RTM_DELROUTE})


def _order(item: Owned) -> tuple[int, int, Owned]:
    """Jump targets and routes first, then the rule that spares reverse lookups, then acceptance."""
    if isinstance(item, LocalDefault):
        return 0, 0, item
    return {FR_ACT_NOP: 1, FR_ACT_GOTO: 2, FR_ACT_TO_TBL: 3}[item.action], item.mark, item


def _change(verb: str, flags: int, owned: list[Owned], kinds: dict[type, int]) -> None:
    if not owned:
        return
    with netlink.connect() as link:
        for item in owned:
            log.debug("routing: %s %s", verb, item)
            code = netlink.ask(link, kinds[type(item)], flags, _packed(item)).failure()
            if code:
                raise KernelError(
                    f"{verb}: {item}: {os.strerror(code)}",
                    hint="see what is there: ip rule; ip route show table all",
                )


def _packed(item: Owned) -> bytes:
    if isinstance(item, LocalDefault):
        return localroutes.default(item.version, item.table)
    numbers = {
        FRA_PRIORITY: item.priority,
        FRA_FWMARK: item.mark,
        FRA_FWMASK: item.mask,
        FRA_TABLE: item.table,
        FRA_GOTO: item.goto,
    }
    parts = [
        attribute(kind, netlink.NUMBER.pack(value)) for kind, value in numbers.items() if value
    ]
    parts.append(attribute(FRA_PROTOCOL, bytes([PROTOCOL])))
    parts += [attribute(FRA_IIFNAME, item.iif.encode() + b"\0")] if item.iif else []
    return RULE.pack(FAMILY[item.version], 0, 0, 0, 0, item.action, 0) + b"".join(parts)


def addresses() -> set[IPAddress]:
    """Every address on an interface of the director."""
    with netlink.connect() as link:
        found = [
            dict(netlink.attributes(content, ADDRESS.size))
            for content in netlink.dump(link, RTM_GETADDR, ADDRESS.pack(0, 0, 0, 0, 0))
        ]
    packed = (address.get(IFA_LOCAL) or address.get(IFA_ADDRESS) for address in found)
    return {ip_address(address) for address in packed if address}


def gateways() -> set[IPAddress]:
    """The next hops of the default routes, found without listing the routing table."""
    with netlink.connect() as link:
        return {gateway for version in VERSIONS for gateway in _gateways(link, version)}


def _gateways(link: socket.socket, version: int) -> Iterator[IPAddress]:
    """Only of the route that the kernel would take to an address that no other leads to."""
    answer = netlink.ask(
        link, localroutes.RTM_GETROUTE, 0, localroutes.asking(version, NOWHERE[version])
    )
    if answer.kind != RTM_NEWROUTE:
        return  # no default route
    found = dict(netlink.attributes(answer.content, localroutes.ROUTE.size))
    hops = [found]
    packed = found.get(RTA_MULTIPATH, b"")
    while packed:
        (size,) = struct.unpack_from("=H", packed)
        hops.append(dict(netlink.attributes(packed[:size], NEXT_HOP_SIZE)))
        packed = packed[(size + 3) & ~3 :]
    for hop in hops:
        if via := hop.get(RTA_GATEWAY) or hop.get(RTA_VIA, b"")[2:]:
            yield ip_address(via)


def advertised() -> set[str]:
    """Interfaces with a default route that the kernel learned from a router advertisement."""
    request = localroutes.ROUTE.pack(FAMILY[6], 0, 0, 0, 0, RTPROT_RA, 0, 0, 0)
    with netlink.connect() as link:
        found = [
            dict(netlink.attributes(content, localroutes.ROUTE.size))
            for content in netlink.dump(link, localroutes.RTM_GETROUTE, request)
            if not content[1]  # the length of its destination
        ]
    return {socket.if_indextoname(_number(route[localroutes.RTA_OIF])) for route in found}


def gateway_to(where: IPAddress) -> IPAddress | None:
    """Of the route that the kernel takes to an address; None also where there is no route."""
    version = where.version
    request = localroutes.ROUTE.pack(FAMILY[version], BITS[version], 0, 0, 0, 0, 0, 0, 0)
    request += attribute(localroutes.RTA_DST, where.packed)
    with netlink.connect() as link:
        answer = netlink.ask(link, localroutes.RTM_GETROUTE, 0, request)
    if answer.kind != RTM_NEWROUTE:
        return None
    found = dict(netlink.attributes(answer.content, localroutes.ROUTE.size))
    via = found.get(RTA_GATEWAY) or found.get(RTA_VIA, b"")[2:]
    return ip_address(via) if via else None
