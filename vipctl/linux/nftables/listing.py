"""Reads nftables tables over netlink, without the elements of their maps.

Others' tables are not read: a table is looked up by name, and dumps of sets and rules are limited
to it. Dumps of chains cannot be, so each chain is looked up by name; that there are no others shows
in the number of objects that the table has.

Numbers are from include/uapi/linux/netfilter/nf_tables.h.
"""

import errno
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vipctl.linux import dumps, netlink
from vipctl.linux.netlink import attribute, attributes
from vipctl.linux.nftables.transactions import (
    CHAIN_NAME,
    GETCHAIN,
    GETOBJ,
    GETRULE,
    GETSET,
    GETSETELEM,
    GETTABLE,
    NAME,
    NEWCHAIN,
    NEWRULE,
    NEWSET,
    NFGENMSG,
    Owned,
    asking,
    unreadable,
)

TABLE_FLAGS, TABLE_USE, TABLE_HANDLE, TABLE_USERDATA, TABLE_OWNER = 2, 3, 4, 6, 7
DORMANT = 1  # NFT_TABLE_F_DORMANT
SET_FLAGS, ANONYMOUS = 3, 1
ELEMENTS = 3
RULE_CHAIN = 2
HANDLE = {NEWCHAIN: 2, NEWSET: 16, NEWRULE: 3}
# The attributes from which an object can be made again: no handles, positions or counters.
MAKING = {
    NEWCHAIN: {3, 4, 5, 7, 10, 12},
    NEWSET: {2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 17, 18},
    NEWRULE: {2, 4, 5, 7},
}
OBJECT_TYPE, OBJECT_DATA, COUNTER = 3, 4, 1
COUNTER_PACKETS = 2
COMMENT = 0  # NFTNL_UDATA_TABLE_COMMENT of libnftnl
NUMBER = struct.Struct(">I")

Attributes = dict[int, bytes]


class Found(NamedTuple):
    """A table: its own attributes, and those of each chain, set and rule."""

    table: Attributes
    chains: dict[str, Attributes]
    sets: dict[str, Attributes]
    rules: list[Attributes]

    @property
    def maps(self) -> set[str]:
        """The names of sets that are no part of a rule."""
        return {name for name, found in self.sets.items() if not _anonymous(found)}

    @property
    def comment(self) -> str:
        return _commented(self.table)

    @property
    def dormant(self) -> bool:
        """Whether its chains are not called."""
        return bool(NUMBER.unpack(self.table[TABLE_FLAGS])[0] & DORMANT)

    def lengths(self) -> dict[str, int]:
        """How many rules each chain has."""
        counts = Counter(text(rule[RULE_CHAIN]) for rule in self.rules)
        return {name: counts[name] for name in self.chains}

    def complete(self, counters: int) -> bool:
        """Whether the table has so many counters, and no other chain.

        What is in use by a rule cannot be deleted: that it is there need not be looked up. The
        kernel does not count anonymous sets.
        """
        (uses,) = NUMBER.unpack(self.table[TABLE_USE])
        return int(uses) == len(self.chains) + len(self.maps) + counters

    def words(self) -> str:
        """All of it as text, which differs after any change, also if deleted and added again."""
        kept = (TABLE_FLAGS, TABLE_HANDLE, TABLE_USERDATA, TABLE_OWNER)
        lines = [[self.table.get(kind) for kind in kept]]
        things = ((NEWCHAIN, self.chains.values()), (NEWSET, self.sets.values()))
        for kind, found in (*things, (NEWRULE, self.rules)):
            wanted = sorted(MAKING[kind] | {HANDLE[kind]})
            lines += [[one.get(number) for number in wanted] for one in found]
        return "\n".join(map(repr, lines))


def comment(table: Owned) -> str:
    """The comment of a table; "" if it has none, or is not there."""
    with asking() as link:
        return _commented(_one(link, GETTABLE, table.head()) or {})


def read(table: Owned, chains: Iterable[str]) -> Found | None:
    """The table with those of `chains` that exist; None if there is no such table."""
    with asking() as link:
        found = _one(link, GETTABLE, table.head())
        if found is None:
            return None
        asked = {name: table.head({CHAIN_NAME: name}) for name in chains}
        answers = {name: _one(link, GETCHAIN, head) for name, head in asked.items()}
        sets = [(text(one[NAME]), one) for one in _dump(link, GETSET, table.head())]
        return Found(
            found,
            {name: answer for name, answer in answers.items() if answer is not None},
            dict(sets),
            list(_dump(link, GETRULE, table.head())),
        )


def elements(table: Owned, name: str) -> list[bytes]:
    """The elements of a set, as the packed attributes of messages."""
    with asking() as link:
        found = list(_dump(link, GETSETELEM, table.head({NAME: name})))
    return [parts[ELEMENTS] for parts in found if ELEMENTS in parts]


def counters(table: Owned) -> dict[str, bytes]:
    """The values of its counters, packed, by name; none if there is no such table."""
    kind = attribute(OBJECT_TYPE, NUMBER.pack(COUNTER))
    with asking() as link:
        if _one(link, GETTABLE, table.head()) is None:
            return {}
        found = list(_dump(link, GETOBJ, table.head() + kind))
    return {text(one[NAME]): one[OBJECT_DATA] for one in found}


def packets(counter: bytes) -> int:
    return int.from_bytes(dict(attributes(counter, 0))[COUNTER_PACKETS])


def text(name: bytes) -> str:
    return name.rstrip(b"\0").decode(errors="replace")


def _one(link: netlink.Link, kind: int, request: bytes) -> Attributes | None:
    answer = netlink.ask(link, kind, 0, request)
    failure = answer.failure()
    if failure == errno.ENOENT:
        return None
    if failure:
        raise unreadable(failure)
    return dict(attributes(answer.content, NFGENMSG.size))


def _dump(link: netlink.Link, kind: int, request: bytes) -> Iterator[Attributes]:
    for content in dumps.dump(link, kind, request):
        yield dict(attributes(content, NFGENMSG.size))


def _anonymous(found: Attributes) -> bool:
    return bool(SET_FLAGS in found and NUMBER.unpack(found[SET_FLAGS])[0] & ANONYMOUS)


def _commented(table: Attributes) -> str:
    """From user data: type, length, value."""
    data, at = table.get(TABLE_USERDATA, b""), 0
    while at + 2 <= len(data):
        kind, size = data[at : at + 2]
        if kind == COMMENT:
            return text(data[at + 2 : at + 2 + size])
        at += 2 + size
    return ""
