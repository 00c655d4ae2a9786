"""Policy-routing rules, routes and the director's own addresses, over rtnetlink.

What is ours carries PROTOCOL; nothing else is ever changed.
"""

import logging
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, NamedTuple

from vipctl import localroutes
from vipctl.errors import KernelError, Missing
from vipctl.localroutes import PROTOCOL
from vipctl.model import MARK_MASK, MARK_VALUE, Acceptance
from vipctl.prefixes import FAMILY, VERSIONS, IPAddress

PRIORITIES = range(4300, 4400)  # of all blocks: before Tailscale's 5210, after a VRF's 1000

log = logging.getLogger(__name__)

# include/uapi/linux/fib_rules.h and rtnetlink.h
FR_ACT_TO_TBL, FR_ACT_GOTO, FR_ACT_NOP = 1, 2, 3
RTM_F_FIB_MATCH = 0x2000
# Only a default route leads there: "this network" and the discard prefix.
NOWHERE = {4: "0.0.0.1", 6: "100::"}


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


@dataclass(frozen=True, slots=True)
class Block:
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
        and all packets be martians.
        """
        skip, accept, end = self.priorities
        owned: set[Owned] = {LocalDefault(version, self.table), Rule(version, end, FR_ACT_NOP)}
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
    with _netlink() as ip:
        found: set[Owned] = set()
        for version in VERSIONS:
            rules = _of_family(version, ip.get_rules(family=FAMILY[version]))
            found |= {_rule(version, r) for r in rules if _is_ours(r, block)}
            if localroutes.has_default(version, block.table):
                found.add(LocalDefault(version, block.table))
        return found


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


def _is_ours(rule: Any, block: Block) -> bool:
    return rule.get("FRA_PROTOCOL") == PROTOCOL and rule.get("FRA_PRIORITY") in block.priorities


def _of_family(version: int, messages: Iterable[Any]) -> Iterator[Any]:
    """Where IPv6 is disabled, the kernel answers a question for it with all that it has."""
    return (message for message in messages if message["family"] == FAMILY[version])


def ahead() -> list[str]:
    """Other people's rules that come before ours and may send packets for VIPs elsewhere."""
    with _netlink() as ip:
        return [
            f"ip -{version} rule pref {r.get('FRA_PRIORITY')}"
            for version in VERSIONS
            for r in _of_family(version, ip.get_rules(family=FAMILY[version]))
            if 0 < (r.get("FRA_PRIORITY") or 0) < PRIORITIES.start and not r.get("FRA_L3MDEV")
        ]


def add(owned: set[Owned]) -> None:
    """Routes before rules, so that no packet meets a rule whose table is empty."""
    with _netlink() as ip:
        for item in sorted(owned, key=_order):
            _change(ip, "add", item)


def delete(owned: set[Owned]) -> None:
    """In the reverse order of `add`."""
    with _netlink() as ip:
        for item in sorted(owned, key=_order, reverse=True):
            _change(ip, "del", item)


def addresses() -> set[IPAddress]:
    """Every address on an interface of the director."""
    with _netlink() as ip:
        texts = (a.get("IFA_LOCAL") or a.get("IFA_ADDRESS") for a in ip.get_addr())
        return {ip_address(text) for text in texts if text}


def gateways() -> set[IPAddress]:
    """The next hops of the default routes, found without listing the routing table."""
    with _netlink() as ip:
        return {gateway for version in VERSIONS for gateway in _gateways(ip, version)}


def _gateways(ip: Any, version: int) -> Iterator[IPAddress]:
    from pyroute2 import NetlinkError

    try:
        routes = ip.route(
            "get", family=FAMILY[version], dst=NOWHERE[version], flags=RTM_F_FIB_MATCH
        )
    except NetlinkError:
        return  # no default route
    for route in routes:
        for hop in (route, *(route.get("RTA_MULTIPATH") or ())):
            attributes = dict(hop["attrs"])
            via = attributes.get("RTA_GATEWAY") or attributes.get("RTA_VIA", {}).get("addr")
            if via:
                yield ip_address(via)


def _order(item: Owned) -> tuple[int, int, Owned]:
    """Jump targets and routes first, then the rule that spares reverse lookups, then acceptance."""
    if isinstance(item, LocalDefault):
        return 0, 0, item
    return {FR_ACT_NOP: 1, FR_ACT_GOTO: 2, FR_ACT_TO_TBL: 3}[item.action], item.mark, item


def _rule(version: int, message: Any) -> Rule:
    return Rule(
        version,
        message.get("FRA_PRIORITY") or 0,
        message["action"],
        message.get("FRA_FWMARK") or 0,
        message.get("FRA_FWMASK") or 0,
        message.get("FRA_TABLE") or 0,
        message.get("FRA_GOTO") or 0,
        message.get("FRA_IIFNAME") or "",
    )


def _change(ip: Any, verb: str, item: Owned) -> None:
    from pyroute2 import NetlinkError

    log.debug("routing: %s %s", verb, item)
    try:
        if isinstance(item, LocalDefault):
            _route(ip, verb, item)
        else:
            ip.rule(verb, **_rule_arguments(item))
    except NetlinkError as e:
        raise KernelError(
            f"{verb}: {item}: {e.args[-1]}",
            hint="see what is there: ip rule; ip route show table all",
        ) from e


def _route(ip: Any, verb: str, item: LocalDefault) -> None:
    ip.route(
        verb,
        family=FAMILY[item.version],
        dst="default",
        type="local",
        oif=socket.if_nametoindex("lo"),
        table=item.table,
        proto=PROTOCOL,
        **({"scope": "host"} if item.version == 4 else {}),
    )


def _rule_arguments(rule: Rule) -> dict[str, object]:
    optional = {
        "fwmark": rule.mark,
        "fwmask": rule.mask,
        "table": rule.table,
        "goto": rule.goto,
        "iifname": rule.iif,
    }
    names = {FR_ACT_TO_TBL: "to_tbl", FR_ACT_GOTO: "goto", FR_ACT_NOP: "nop"}
    return {
        "family": FAMILY[rule.version],
        "priority": rule.priority,
        "action": names[rule.action],
        "protocol": PROTOCOL,
    } | {key: value for key, value in optional.items() if value}


@contextmanager
def _netlink() -> Iterator[Any]:
    try:
        from pyroute2 import IPRoute, NetlinkError
    except ImportError as e:
        raise Missing(f"pyroute2 cannot be used: {e}", hint="pip install pyroute2") from e
    try:
        with IPRoute(ext_ack=True) as ip:
            yield ip
    except (NetlinkError, OSError) as e:
        raise KernelError(f"routing: {e.args[-1]}", hint="dmesg may say more; try again") from e
