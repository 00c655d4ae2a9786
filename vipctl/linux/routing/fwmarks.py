"""Makes packets with a mark local: by policy-routing rules and a table with one route.

vipctl's rules and routes carry PROTOCOL; no others are ever changed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Self

from vipctl import log
from vipctl.addresses.prefixes import VERSIONS
from vipctl.linux import netlink
from vipctl.linux.netlink import NLM_F_ACK, NLM_F_CREATE, TRIES
from vipctl.linux.routing import localroutes, rules
from vipctl.linux.routing.localroutes import PROTOCOL, RTM_DELROUTE, RTM_NEWROUTE
from vipctl.linux.routing.rules import (
    FR_ACT_BLACKHOLE,
    FR_ACT_GOTO,
    FR_ACT_NOP,
    FR_ACT_TO_TBL,
    RTM_DELRULE,
    RTM_NEWRULE,
    Rule,
)
from vipctl.services.change import Acceptance
from vipctl.services.marks import MARK_MASK, MARK_VALUE
from vipctl.services.methods import Features


class LocalDefault(NamedTuple):
    """`local default dev lo` in a table of ours."""

    version: int
    table: int

    def __str__(self) -> str:
        return f"ip -{self.version} route local default dev lo table {self.table}"

    def packed(self) -> bytes:
        return localroutes.default(self.version, self.table)


class AlteredRoute(NamedTuple):
    """A route of vipctl's that somebody has changed; `content` is what the kernel says of it."""

    version: int
    table: int
    content: bytes

    def __str__(self) -> str:
        return f"ip -{self.version} route of vipctl's that it did not make in table {self.table}"

    def packed(self) -> bytes:
        return self.content


Owned = Rule | LocalDefault | AlteredRoute


class Block(NamedTuple):
    """What one method has to itself: three rule priorities from `priority` on, and a table.

    The priorities come after those of VRFs (1000) and before Tailscale's (5210). If it `closes`, a
    passive director drops here what is for any VIP.
    """

    priority: int
    table: int
    closes: bool = True

    @classmethod
    def of(cls, features: Features) -> Self:
        return cls(features.priority, features.routes, not features.proxied)

    def accepting(self, acceptance: Acceptance) -> set[Owned]:
        """Rules and routes that make packets with these services' marks local."""
        masked = {selector(service.fwmark) for service in acceptance.services}
        return {
            item
            for version in VERSIONS
            if masked and acceptance.has(version)
            for item in self._accepting(
                version, sorted(masked), closed=self.closes and acceptance.all_passive
            )
        }

    def _accepting(self, version: int, marks: list[tuple[int, int]], *, closed: bool) -> set[Owned]:
        """The rules and the route of one IP version.

        Reverse-path lookups come from `lo`: the `goto` leads them past the accepting rule. Where
        src_valid_mark is set they carry the packet's mark, and would find every source local, which
        makes every packet a martian. A jump goes on behind its target whatever that matches; the
        target has a mark so that other lookups pass it sooner.

        A closed way stays accepting behind the rules that close it. Without it, packets would go on
        to whoever sent them here, and back, until their TTL ends.
        """
        skip, accept, end = self.priorities
        target = Rule(version, end, FR_ACT_NOP, MARK_VALUE, MARK_MASK)
        owned: set[Owned] = {LocalDefault(version, self.table), target}
        for mark, mask in marks:
            owned.add(Rule(version, skip, FR_ACT_GOTO, mark, mask, goto=end, iif="lo"))
            owned.add(Rule(version, accept, FR_ACT_TO_TBL, mark, mask, table=self.table))
            if closed:
                owned.add(Rule(version, skip, FR_ACT_BLACKHOLE, mark, mask))
        return owned

    def could_have_made(self, item: Owned) -> bool:
        if isinstance(item, Rule):
            marks = [(item.mark, item.mask)] if item.mark and item.mask else []
            return item in self._accepting(item.version, marks, closed=self.closes)
        return isinstance(item, LocalDefault)

    @property
    def priorities(self) -> range:
        return range(self.priority, self.priority + 3)


def selector(mark: int) -> tuple[int, int]:
    """Mark and mask of the rule for a mark: one rule for the whole block of vipctl's marks."""
    if mark & MARK_MASK == MARK_VALUE:
        return MARK_VALUE, MARK_MASK
    return mark, 0xFFFFFFFF


def read(block: Block) -> set[Owned]:
    """The rules and routes that are ours in this block."""
    routes: set[Owned] = {
        LocalDefault(version, block.table)
        if localroutes.is_default(version, content)
        else AlteredRoute(version, block.table, content)
        for version in VERSIONS
        for content in localroutes.ours(version, block.table)
    }
    return routes | {
        rule
        for rule in rules.read()
        if rule.protocol == PROTOCOL and rule.priority in block.priorities
    }


def unlike(block: Block, acceptance: Acceptance) -> Iterator[str]:
    """What of its rules and routes is not as it should be, in words."""
    present, wanted = read(block), block.accepting(acceptance)
    for item in sorted(wanted - present, key=_order):
        yield f"not there: {item}"
    for item in sorted(present - wanted, key=_order):
        yield f"there, and should not be: {item}"


@contextmanager
def changing(block: Block, wanted: set[Owned]) -> Iterator[None]:
    """Adds what is missing before the body runs, and deletes what is not wanted after it.

    If the body fails, what was added is deleted again.
    """
    present = _without_altered(block)
    try:
        add(wanted - present)
        yield
    except BaseException:
        delete(read(block) - present)
        raise
    delete(present - wanted)


def _without_altered(block: Block) -> set[Owned]:
    """What is ours, after deleting the rules and routes of ours that somebody has changed.

    They go first because the kernel may take them for the right ones. It compares neither `not` nor
    the target of a `goto`, and what a message leaves out matches anything.
    """
    for _ in range(TRIES):
        present = read(block)
        altered = {item for item in present if not block.could_have_made(item)}
        if not altered:
            break
        delete(altered)
    return present


def add(owned: set[Owned]) -> None:
    """Adds routes before rules, so that no packet meets a rule whose table is empty.

    Our route takes precedence over others' in the same table, which stay.
    """
    _change("add", NLM_F_CREATE, sorted(owned, key=_order), (RTM_NEWRULE, RTM_NEWROUTE))


def delete(owned: set[Owned]) -> None:
    """In the reverse order of `add`."""
    _change("del", 0, sorted(owned, key=_order, reverse=True), (RTM_DELRULE, RTM_DELROUTE))


def _order(item: Owned) -> tuple[int, int, str]:
    """Routes and jump targets first, then rules that jump or drop, then those that accept."""
    if not isinstance(item, Rule):
        return 0, 0, str(item)
    ranks = {FR_ACT_NOP: 1, FR_ACT_GOTO: 2, FR_ACT_BLACKHOLE: 2}
    return ranks.get(item.action, 3), item.mark, str(item)


def _change(verb: str, flags: int, owned: list[Owned], kinds: tuple[int, int]) -> None:
    """`kinds` are the types of messages, of rules and of routes."""
    if not owned:
        return
    with netlink.connect() as link:
        netlink.sign(link)
        for item in owned:
            log.debug("routing: %s %s", verb, item)
            kind = kinds[not isinstance(item, Rule)]
            code = netlink.ask(link, kind, flags | NLM_F_ACK, item.packed()).failure()
            if code:
                hint = "see what is there: ip rule; ip route show table all"
                raise netlink.refusal(f"{verb}: {item}", code, hint)
