"""Turns a table that was compiled in one network namespace into messages that make it in another.

Numbers are from include/uapi/linux/netfilter/nf_tables.h.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import count
from typing import NamedTuple

from vipctl.errors import KernelError
from vipctl.linux.netlink import NLM_F_APPEND, NLM_F_CREATE, attribute, attributes
from vipctl.linux.nftables import listing
from vipctl.linux.nftables.listing import (
    COMMENT,
    COUNTER,
    ELEMENTS,
    MAKING,
    NUMBER,
    OBJECT_DATA,
    OBJECT_TYPE,
    TABLE_USERDATA,
    Attributes,
    Found,
)
from vipctl.linux.nftables.transactions import (
    CHAIN_NAME,
    DELCHAIN,
    DELOBJ,
    DELRULE,
    DELSET,
    DELTABLE,
    NAME,
    NEWCHAIN,
    NEWOBJ,
    NEWRULE,
    NEWSET,
    NEWSETELEM,
    NEWTABLE,
    Message,
    Owned,
)

SET_ID, ELEMENTS_SET_ID = 10, 4
EXPRESSIONS, EXPRESSION_NAME, EXPRESSION_DATA = 4, 1, 2
LOOKING_UP = {b"lookup\0": (1, 4), b"objref\0": (4, 5)}  # attributes for the set, and its number
_numbers = count(1)  # of sets, by which messages of one transaction refer to them


class Drawn(NamedTuple):
    """A table as compiled, to be made again elsewhere."""

    found: Found
    elements: Mapping[str, list[bytes]]  # of anonymous sets

    @classmethod
    def read(cls, table: Owned, chains: Iterable[str], counters: int) -> "Drawn":
        found = listing.read(table, chains)
        if found is None or not found.complete(counters):
            raise KernelError("nftables: what was just made is not there", hint="try again")
        unnamed = found.sets.keys() - found.maps
        return cls(found, {name: listing.elements(table, name) for name in unnamed})

    def maps(self, table: Owned, names: Iterable[str]) -> Iterator[Message]:
        return (_set(table, self.found.sets[name], next(_numbers)) for name in names)

    def chains(self, table: Owned, names: Iterable[str]) -> Iterator[Message]:
        for name in names:
            content = _packed(NEWCHAIN, self.found.chains[name])
            yield Message(NEWCHAIN, table.head() + content, NLM_F_CREATE)

    def rules(self, table: Owned) -> Iterator[Message]:
        """Each after the anonymous sets that it looks up."""
        for rule in self.found.rules:
            used: dict[str, int] = {}
            expressions = _renumbered(rule[EXPRESSIONS], self.elements, used)
            for name, number in used.items():
                yield from self._anonymous(table, name, number)
            content = _packed(NEWRULE, rule | {EXPRESSIONS: expressions})
            yield Message(NEWRULE, table.head() + content, NLM_F_CREATE | NLM_F_APPEND)

    def _anonymous(self, table: Owned, name: str, number: int) -> Iterator[Message]:
        """The set and its elements. Its number identifies it until the kernel has named it."""
        yield _set(table, self.found.sets[name] | {NAME: _template(name)}, number)
        which = attribute(NAME, _template(name)) + attribute(ELEMENTS_SET_ID, NUMBER.pack(number))
        for part in self.elements[name]:
            content = table.head() + which + attribute(ELEMENTS, part)
            yield Message(NEWSETELEM, content, NLM_F_CREATE)


def absent(table: Owned) -> list[Message]:
    """Deletes the table; not being there is no error, as it is added first."""
    return [Message(NEWTABLE, table.head(), NLM_F_CREATE), Message(DELTABLE, table.head())]


def empty(table: Owned, comment: str) -> list[Message]:
    words = comment.encode() + b"\0"
    said = attribute(TABLE_USERDATA, bytes([COMMENT, len(words)]) + words) if comment else b""
    return [Message(NEWTABLE, table.head() + said, NLM_F_CREATE)]


def counters(table: Owned, values: Mapping[str, bytes]) -> list[Message]:
    """Counters that go on from these values, or begin at 0 where there is none."""
    return [
        Message(NEWOBJ, _counter(table, name) + attribute(OBJECT_DATA, value), NLM_F_CREATE)
        for name, value in values.items()
    ]


def without_counters(table: Owned, names: Iterable[str]) -> list[Message]:
    return [Message(DELOBJ, _counter(table, name)) for name in names]


def _counter(table: Owned, name: str) -> bytes:
    return table.head({NAME: name}) + attribute(OBJECT_TYPE, NUMBER.pack(COUNTER))


def without_rules(table: Owned, chains: Iterable[str]) -> list[Message]:
    return [Message(DELRULE, table.head({NAME: name})) for name in chains]


def without_chains(table: Owned, chains: Iterable[str]) -> list[Message]:
    return [Message(DELCHAIN, table.head({CHAIN_NAME: name})) for name in chains]


def without_maps(table: Owned, maps: Iterable[str]) -> list[Message]:
    return [Message(DELSET, table.head({NAME: name})) for name in maps]


def _set(table: Owned, found: Attributes, number: int) -> Message:
    content = _packed(NEWSET, found) + attribute(SET_ID, NUMBER.pack(number))
    return Message(NEWSET, table.head() + content, NLM_F_CREATE)


def _packed(kind: int, found: Attributes) -> bytes:
    return b"".join(attribute(n, found[n]) for n in sorted(MAKING[kind] & found.keys()))


def _template(name: str) -> bytes:
    return name.rstrip("0123456789").encode() + b"%d\0"


def _renumbered(expressions: bytes, unnamed: Collection[str], used: dict[str, int]) -> bytes:
    """The expressions with anonymous sets by number; the numbers are put into `used`, by name."""
    packed = b""
    for kind, expression in attributes(expressions, 0):
        parts = dict(attributes(expression, 0))
        if parts[EXPRESSION_NAME] in LOOKING_UP:
            by_name, by_number = LOOKING_UP[parts[EXPRESSION_NAME]]
            data = dict(attributes(parts[EXPRESSION_DATA], 0))
            if (name := listing.text(data.get(by_name, b""))) in unnamed:
                number = used.setdefault(name, next(_numbers))
                data |= {by_name: _template(name), by_number: NUMBER.pack(number)}
                parts[EXPRESSION_DATA] = b"".join(attribute(*part) for part in data.items())
        packed += attribute(kind, b"".join(attribute(*part) for part in parts.items()))
    return packed
