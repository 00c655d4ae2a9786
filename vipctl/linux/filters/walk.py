"""Through chains of rules, as the kernel goes: what becomes of a packet. Pure."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from vipctl.linux.filters.packet import Hook, Packet

MOST = 300  # rules of a chain
IN_ALL = 2 * MOST  # rules that one packet is shown to
DEEPEST = 16  # chains
ACCEPT, DROP, RETURN, CONTINUE, JUMP, GOTO, ALTERS, UNKNOWN = (
    "accept", "drop", "return", "continue", "jump", "goto", "alters", "unknown",
)  # fmt: skip
PASSES, FALLS = "", None  # it may be accepted; it comes to the end of the chain


class Verdict(NamedTuple):
    """What a rule says of a packet, `sure` if it matches for certain."""

    kind: str = CONTINUE
    chain: str = ""
    sure: bool = True


Rule = Callable[[Packet], Verdict]
Reader = Callable[[str], Iterable[Rule] | None]  # the rules of a chain; None where they are many


class Base(NamedTuple):
    """A chain that a hook calls; its packets come to the policy at its end."""

    title: str
    hook: Hook
    priority: int
    versions: frozenset[int]
    chain: str
    drops: bool
    read: Reader

    def sees(self, packet: Packet) -> bool:
        return self.hook is packet.hook and packet.version in self.versions

    def loses(self, packet: Packet) -> str:
        """By which chain it is sure to drop the packet; "" if it may let it pass."""
        fate = _Walk(self.read, packet).fate(self.chain, DEEPEST)
        return (self.chain if self.drops else PASSES) if fate is FALLS else fate

    def may_lose(self, packet: Packet) -> bool:
        """Whether it may drop the packet, as far as its rules are understood."""
        lost, falls = _Walk(self.read, packet).dangers(self.chain, DEEPEST)
        return lost or (falls and self.drops)

    def untouched(self, packet: Packet) -> bool:
        """Whether the packet is sure to come to its end as it was."""
        return _Walk(self.read, packet).fate(self.chain, DEEPEST) is FALLS


class _Walk:
    """Of one packet, which comes out of a chain each time as it did the first time."""

    def __init__(self, read: Reader, packet: Packet) -> None:
        self._read = read
        self._packet = packet
        self._left = IN_ALL
        self._known: dict[str, str | None] = {}
        self._dangers: dict[str, tuple[bool, bool]] = {}

    def fate(self, chain: str, depth: int) -> str | None:
        """PASSES, FALLS, or the chain that drops it."""
        if chain not in self._known:
            rules = self._read(chain) if depth and self._left > 0 else None
            self._known[chain] = PASSES if rules is None else self._through(chain, rules, depth)
        return self._known[chain]

    def _through(self, chain: str, rules: Iterable[Rule], depth: int) -> str | None:
        may_fall = False
        for rule in rules:
            self._left -= 1
            kind, target, sure = rule(self._packet)
            if kind in (ACCEPT, ALTERS, UNKNOWN):
                return PASSES
            if kind == CONTINUE:
                continue
            fate = chain if kind == DROP else FALLS
            if kind in (JUMP, GOTO):
                fate = self.fate(target, depth - 1)
                if fate == PASSES:
                    return PASSES
            if fate is FALLS and kind == JUMP:
                continue
            if sure:
                return FALLS if may_fall else fate
            may_fall |= fate is FALLS
        return FALLS

    def dangers(self, chain: str, depth: int) -> tuple[bool, bool]:
        """Whether the chain may drop it, and whether it may come to the chain's end."""
        if chain not in self._dangers:
            rules = self._read(chain) if depth and self._left > 0 else None
            found = (True, True) if rules is None else self._dangers_of(rules, depth)
            self._dangers[chain] = found
        return self._dangers[chain]

    def _dangers_of(self, rules: Iterable[Rule], depth: int) -> tuple[bool, bool]:
        lost = falls = False
        for rule in rules:
            self._left -= 1
            kind, target, sure = rule(self._packet)
            may_lose, returns = kind in (DROP, UNKNOWN), kind in (RETURN, UNKNOWN)
            if kind in (JUMP, GOTO):
                may_lose, returns = self.dangers(target, depth - 1)
            lost |= may_lose
            goes_on = kind in (CONTINUE, ALTERS, UNKNOWN) or (kind == JUMP and returns)
            falls |= returns and kind != JUMP
            if sure and not goes_on:
                return lost, falls
        return lost, True
