"""Tables of nftables, but for the elements of their maps: what is there, over netlink.

Nobody else's table is read: the kernel looks for ours by name, and keeps to it in a dump of sets or
of rules. It would not in a dump of chains, so each is asked for by its name; that there is no other
shows in how many things a table says that it has.

Numbers are from include/uapi/linux/netfilter/nf_tables.h.
"""

import errno
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vipctl.linux import netlink
from vipctl.linux.netlink import attributes
from vipctl.linux.nftables.transactions import (
    CHAIN_NAME,
    GETCHAIN,
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
SET_FLAGS, ANONYMOUS = 3, 1
ELEMENTS = 3
RULE_CHAIN = 2
HANDLE = {NEWCHAIN: 2, NEWSET: 16, NEWRULE: 3}
# What makes a thing what it is: no handle or position, and nothing that counts.
MAKING = {
    NEWCHAIN: {3, 4, 5, 7, 10, 12},
    NEWSET: {2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 17, 18},
    NEWRULE: {2, 4, 5, 7},
}
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

    def lengths(self) -> dict[str, int]:
        """How many rules each chain has."""
        counts = Counter(text(rule[RULE_CHAIN]) for rule in self.rules)
        return {name: counts[name] for name in self.chains}

    @property
    def complete(self) -> bool:
        """Whether it has no other chain; the kernel does not count sets that are part of rules."""
        (uses,) = NUMBER.unpack(self.table[TABLE_USE])
        return int(uses) == len(self.chains) + len(self.maps)

    def words(self) -> str:
        """All of it; others where only one thing is, or was deleted and added again."""
        kept = (TABLE_FLAGS, TABLE_HANDLE, TABLE_USERDATA, TABLE_OWNER)
        lines = [[self.table.get(kind) for kind in kept]]
        things = ((NEWCHAIN, self.chains.values()), (NEWSET, self.sets.values()))
        for kind, found in (*things, (NEWRULE, self.rules)):
            wanted = sorted(MAKING[kind] | {HANDLE[kind]})
            lines += [[one.get(number) for number in wanted] for one in found]
        return "\n".join(map(repr, lines))


def comment(table: Owned) -> str:
    """That of a table; "" for none."""
    with asking() as link:
        return _commented(_one(link, GETTABLE, table.head()) or {})


def read(table: Owned, chains: Iterable[str]) -> Found | None:
    """With those of the chains that there are; None for no table."""
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
    """Those of a set, in the attributes of messages."""
    with asking() as link:
        found = list(_dump(link, GETSETELEM, table.head({NAME: name})))
    return [parts[ELEMENTS] for parts in found if ELEMENTS in parts]


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
    for content in netlink.dump(link, kind, request):
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
