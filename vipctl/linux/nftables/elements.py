"""Elements of nftables maps from address to mark, packed by hand: a million in one transaction.

Numbers are from include/uapi/linux/netfilter/nf_tables.h.
"""

import errno
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vipctl.addresses import spans
from vipctl.addresses.few import WIDTH
from vipctl.linux import dumps, netlink
from vipctl.linux.netlink import NLA_F_NESTED, NLM_F_CREATE, NUMBER, attribute
from vipctl.linux.nftables.transactions import (
    DELSETELEM,
    GETSETELEM,
    NAME,
    NEWSETELEM,
    NFGENMSG,
    Message,
    Owned,
    asking,
    unreadable,
)

ELEMENTS, ELEMENT, KEY, DATA, VALUE = 3, 1, 1, 2, 1  # NFTA_…
LIMIT = 65_535 - 4  # bytes of elements in an attribute
LONGEST = 80  # bytes for an address that gets another mark: an element is deleted, one is added


class Map(NamedTuple):
    """A map in a table."""

    table: Owned
    name: str
    version: int  # of IP


class Edit(NamedTuple):
    """What one map loses and gains."""

    where: Map
    removed: bytes = b""
    added: tuple[tuple[int, bytes], ...] = ()  # by mark


def messages(edits: Iterable[Edit]) -> list[Message]:
    return [message for edit in edits for message in _messages(edit)]


def _messages(edit: Edit) -> Iterator[Message]:
    where = _where(edit.where)
    for chunk in _chunks(edit.where.version, edit.removed, None):
        yield Message(DELSETELEM, where + chunk)
    for mark, addresses in edit.added:
        for chunk in _chunks(edit.where.version, addresses, mark):
            yield Message(NEWSETELEM, where + chunk, NLM_F_CREATE)


def parts(edits: Iterable[Edit], size: int) -> Iterator[Edit]:
    """The same edits in parts of up to `size` bytes, one for each transaction.

    New addresses are added first, and old ones removed last, so that addresses that stay are always
    accepted. An address that only gets another mark gets it in one transaction.
    """
    edits, number = list(edits), size // LONGEST
    for where, removed, added in edits:
        for mark, addresses in added:
            come = spans.records_without(_width(where), addresses, removed)
            for part in _cut(where, come, number):
                yield Edit(where, b"", ((mark, part),))
    for where, removed, added in edits:
        for mark, addresses in added:
            for part in _cut(where, spans.common(_width(where), addresses, removed), number):
                yield Edit(where, part, ((mark, part),))
    for where, removed, added in edits:
        stay = b"".join(addresses for _, addresses in added)
        for part in _cut(where, spans.records_without(_width(where), removed, stay), number):
            yield Edit(where, part)


def _cut(where: Map, addresses: bytes, number: int) -> Iterator[bytes]:
    size = max(number, 1) * _width(where)
    return (addresses[at : at + size] for at in range(0, len(addresses), size))


def _width(where: Map) -> int:
    return WIDTH[where.version]


def _where(where: Map) -> bytes:
    return where.table.head({NAME: where.name})


def _chunks(version: int, addresses: bytes, mark: int | None) -> Iterator[bytes]:
    """The elements, in as many attributes as they need."""
    width = WIDTH[version]
    template = _element(bytes(width), mark)
    packed = spans.records(template, KEY_AT, width, addresses)
    size = LIMIT // len(template) * len(template)
    for at in range(0, len(packed), size):
        yield attribute(ELEMENTS | NLA_F_NESTED, packed[at : at + size])


def _element(address: bytes, mark: int | None, nested: int = NLA_F_NESTED) -> bytes:
    content = attribute(KEY | nested, attribute(VALUE, address))
    if mark is not None:
        content += attribute(DATA | nested, attribute(VALUE, NUMBER.pack(mark)))
    return attribute(ELEMENT | nested, content)


KEY_AT = 12  # where an element has its address, behind three headers


def read(where: Map) -> dict[int, bytes]:
    """All of a map: packed addresses by mark.

    The kernel walks a map from its beginning for each thousand elements: half a minute for a
    million.
    """
    found: dict[int, list[bytes]] = {}
    with asking() as link:
        for content in dumps.dump(link, GETSETELEM, _where(where)):
            for mark, addresses in _listed(where.version, content):
                found.setdefault(mark, []).append(addresses)
    return {mark: b"".join(parts) for mark, parts in found.items()}


def counted(where: Map, most: int) -> dict[int, int]:
    """How many elements of a map have each mark; of a large map, about the first `most`."""
    found: dict[int, int] = {}
    with asking() as link:
        for content in dumps.beginning(link, GETSETELEM, _where(where)):
            for mark, addresses in _listed(where.version, content):
                found[mark] = found.get(mark, 0) + len(addresses) // WIDTH[where.version]
            if sum(found.values()) >= most:
                break
    return found


def mark_of(where: Map, address: bytes) -> int | None:
    """The mark of one address; None if the address, or the map, is not there."""
    asked = attribute(ELEMENTS | NLA_F_NESTED, _element(address, None))
    with asking() as link:
        answer = netlink.ask(link, GETSETELEM, 0, _where(where) + asked)
    failure = answer.failure()
    if failure == errno.ENOENT:
        return None
    if failure:
        raise unreadable(failure)
    packed = dict(netlink.attributes(answer.content, NFGENMSG.size))[ELEMENTS]
    _, mark = _parsed(next(netlink.attributes(packed, 0))[1])
    return mark


def _listed(version: int, content: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements of a message, by mark; if they differ in their addresses alone, all at once."""
    width = WIDTH[version]
    packed = dict(netlink.attributes(content, NFGENMSG.size)).get(ELEMENTS, b"")
    if not packed:
        return
    _, mark = _parsed(next(netlink.attributes(packed, 0))[1])
    for nested in (0, NLA_F_NESTED):
        addresses = spans.fields(_element(bytes(width), mark, nested), KEY_AT, width, packed)
        if addresses is not None:
            yield mark, addresses
            return
    for _, element in netlink.attributes(packed, 0):
        address, mark = _parsed(element)
        yield mark, address or bytes(width)


def _parsed(element: bytes) -> tuple[bytes, int]:
    """Address and mark. A catch-all element `*`, which vipctl never adds, has an empty address."""
    found = dict(netlink.attributes(element, 0))
    key, data = (dict(netlink.attributes(found.get(kind, b""), 0)) for kind in (KEY, DATA))
    return key.get(VALUE, b""), NUMBER.unpack(data[VALUE])[0]
