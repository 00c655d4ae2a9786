"""nftables: base chains of others, and their rules.

Numbers are from include/uapi/linux/netfilter/nf_tables.h.
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, partial
from typing import NamedTuple

from vipctl.linux import dumps, netlink
from vipctl.linux.filters import walk
from vipctl.linux.filters.expressions import Element, Expression, Lookup, Set, judged
from vipctl.linux.filters.packet import Hook
from vipctl.linux.filters.walk import Base, Rule
from vipctl.linux.netlink import attribute, attributes
from vipctl.linux.nftables.transactions import (
    GETCHAIN,
    GETRULE,
    GETSET,
    GETSETELEM,
    NFGENMSG,
    asking,
)

Attributes = dict[int, bytes]
NUMBER = struct.Struct(">I")
SIGNED = struct.Struct(">i")
FAMILIES = {1: "inet", 2: "ip", 10: "ip6"}
VERSIONS = {1: frozenset({4, 6}), 2: frozenset({4}), 10: frozenset({6})}
CHAIN_HOOK, CHAIN_POLICY, CHAIN_TYPE = 4, 5, 7
HOOK_NUMBER, HOOK_PRIORITY = 1, 2
TABLE, NAME, CHAIN_NAME = 1, 2, 3  # of rules' chains and sets; of chains
RULE_EXPRESSIONS, SET_FLAGS, SET_ELEMENTS = 4, 3, 3
ELEMENT_KEY, ELEMENT_DATA, ELEMENT_FLAGS, ELEMENT_KEY_END = 1, 2, 3, 10
ANONYMOUS, INTERVAL, INTERVAL_END = 1, 4, 1
DATA_VALUE = 1
MOST_CHAINS = 2000
OURS = "vipctl"


class Table(NamedTuple):
    """Somebody's."""

    family: int
    name: str

    def head(self, name: str) -> bytes:
        named = ((TABLE, self.name), (NAME, name))
        parts = (attribute(kind, word.encode() + b"\0") for kind, word in named)
        return NFGENMSG.pack(self.family, 0, 0) + b"".join(parts)


def bases() -> Iterator[Base]:
    """Chains of others that hooks call and that look at every packet."""
    for content in _some(GETCHAIN, NFGENMSG.pack(0, 0, 0), MOST_CHAINS) or ():
        found = dict(attributes(content, NFGENMSG.size))
        family, name = content[0], _text(found[TABLE])
        kind = _text(found.get(CHAIN_TYPE, b""))
        if (
            family in FAMILIES
            and CHAIN_HOOK in found
            and kind in ("filter", "route")
            and not name.startswith(OURS)
        ):
            hook = dict(attributes(found[CHAIN_HOOK], 0))
            if NUMBER.unpack(hook[HOOK_NUMBER])[0] in list(Hook):  # and not a device's ingress
                yield _base(Table(family, name), found, hook)


def _base(table: Table, found: Attributes, hook: Attributes) -> Base:
    chain = _text(found[CHAIN_NAME])
    return Base(
        title=f"{FAMILIES[table.family]} {table.name} {chain}",
        hook=Hook(NUMBER.unpack(hook[HOOK_NUMBER])[0]),
        priority=SIGNED.unpack(hook[HOOK_PRIORITY])[0],
        versions=VERSIONS[table.family],
        chain=chain,
        drops=found.get(CHAIN_POLICY) == NUMBER.pack(0),
        read=cache(partial(_rules, table)),
    )


def _rules(table: Table, chain: str) -> list[Rule] | None:
    contents = _some(GETRULE, table.head(chain), walk.MOST)
    if contents is None:
        return None
    lookup: Lookup = cache(partial(_set, table))
    return [partial(judged, list(_expressions(content)), lookup) for content in contents]


def _expressions(content: bytes) -> Iterator[Expression]:
    packed = dict(attributes(content, NFGENMSG.size)).get(RULE_EXPRESSIONS, b"")
    for _, one in attributes(packed, 0):
        parts = dict(attributes(one, 0))
        yield _text(parts[1]), dict(attributes(parts.get(2, b""), 0))


def _set(table: Table, name: str) -> Set | None:
    """One that is part of a rule; None for those that others fill, and large ones."""
    with asking() as link:
        answer = netlink.ask(link, GETSET, 0, table.head(name))
    if answer.failure():
        return None
    packed = dict(attributes(answer.content, NFGENMSG.size)).get(SET_FLAGS, NUMBER.pack(0))
    flags = NUMBER.unpack(packed)[0]
    contents = _some(GETSETELEM, table.head(name), walk.MOST) if flags & ANONYMOUS else None
    if contents is None:
        return None
    found = [element for content in contents for element in _elements(content)]
    return None if None in found else Set([e for e in found if e], bool(flags & INTERVAL))


def _elements(content: bytes) -> Iterator[Element | None]:
    """None for one of a kind that is not known."""
    packed = dict(attributes(content, NFGENMSG.size)).get(SET_ELEMENTS, b"")
    for _, one in attributes(packed, 0):
        parts = dict(attributes(one, 0))
        if ELEMENT_KEY not in parts or ELEMENT_KEY_END in parts:
            yield None
        else:
            flags = NUMBER.unpack(parts.get(ELEMENT_FLAGS, NUMBER.pack(0)))[0]
            key = dict(attributes(parts[ELEMENT_KEY], 0))[DATA_VALUE]
            yield Element(key, parts.get(ELEMENT_DATA, b""), bool(flags & INTERVAL_END))


def _some(kind: int, request: bytes, most: int) -> list[bytes] | None:
    """A dump; None where there is more."""
    with suppress(dumps.Large), asking() as link:
        return list(dumps.dump(link, kind, request, most))
    return None


def _text(name: bytes) -> str:
    return name.rstrip(b"\0").decode(errors="replace")
