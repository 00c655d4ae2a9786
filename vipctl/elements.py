"""Elements of nftables maps from address to mark, packed by hand: a million in one transaction.

libnftables takes text, and twice the kernel's own time to read it. Numbers are from
include/uapi/linux/netfilter/nf_tables.h and nfnetlink.h.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vipctl import netlink, spans
from vipctl.errors import KernelError
from vipctl.netlink import NLA_F_NESTED, NLM_F_CREATE, NUMBER, attribute
from vipctl.spans import WIDTH

FAMILY = {"inet": 1, "arp": 3}  # enum nfproto of include/uapi/linux/netfilter.h
SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
BATCH_BEGIN, BATCH_END = 0x10, 0x11
NEWSETELEM, GETSETELEM, DELSETELEM, GETGEN = (SUBSYSTEM << 8 | n for n in (12, 13, 14, 16))
GEN_ID = 1  # NFTA_GEN_ID
TABLE, SET, ELEMENTS, ELEMENT, KEY, DATA, VALUE = 1, 2, 3, 1, 1, 2, 1  # NFTA_…
LIMIT = 65_535 - 4  # bytes of elements in an attribute
ROOM = 1 << 20  # of a transaction, beside its elements
NFGENMSG = struct.Struct(">BBH")  # family, version, resource


class Map(NamedTuple):
    """A map in a table."""

    family: str
    table: str
    name: str
    version: int  # of IP


class Edit(NamedTuple):
    """What one map loses and gains; first all of it, if it is to be emptied."""

    where: Map
    removed: bytes = b""
    added: tuple[tuple[int, bytes], ...] = ()  # by mark
    emptied: bool = False


def send(edits: Iterable[Edit]) -> None:
    """All of it as one transaction. Raises KernelError."""
    end = NFGENMSG.pack(0, 0, SUBSYSTEM)
    messages = [netlink.pack(BATCH_BEGIN, 0, end)]
    changes = [message for edit in edits for message in _messages(edit)]
    if not changes:
        return
    changes[-1] = netlink.acknowledging(changes[-1])
    packed = b"".join([*messages, *changes, netlink.pack(BATCH_END, 0, end)])
    with netlink.connect(netlink.NETLINK_NETFILTER, "nftables", len(packed) + ROOM) as link:
        link.sendall(packed)
        for answer in netlink.failures(link):
            words = os.strerror(answer.failure())
            raise KernelError(f"nftables: elements: {words}", hint="see dmesg; vipctl restore")


def _messages(edit: Edit) -> Iterator[bytes]:
    where = _where(edit.where)
    if edit.emptied:
        yield netlink.pack(DELSETELEM, 0, where)
    for chunk in _chunks(edit.where.version, edit.removed, None):
        yield netlink.pack(DELSETELEM, 0, where + chunk)
    for mark, addresses in edit.added:
        for chunk in _chunks(edit.where.version, addresses, mark):
            yield netlink.pack(NEWSETELEM, NLM_F_CREATE, where + chunk)


def _where(where: Map) -> bytes:
    names = attribute(TABLE, where.table.encode() + b"\0") + attribute(
        SET, where.name.encode() + b"\0"
    )
    return NFGENMSG.pack(FAMILY[where.family], 0, 0) + names


def _chunks(version: int, addresses: bytes, mark: int | None) -> Iterator[bytes]:
    """The attribute of elements, as often as they need it."""
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


def generation() -> str:
    """Another one after each change of anything of nftables in the network namespace."""
    with netlink.connect(netlink.NETLINK_NETFILTER, "nftables") as link:
        answer = netlink.ask(link, GETGEN, 0, NFGENMSG.pack(0, 0, 0))
        if answer.failure():
            return ""
        return dict(netlink.attributes(answer.content, NFGENMSG.size))[GEN_ID].hex()


def read(where: Map) -> dict[int, bytes]:
    """All of a map: packed addresses by mark.

    The kernel walks a map from its beginning for each thousand elements: half a minute for a
    million.
    """
    found: dict[int, list[bytes]] = {}
    with netlink.connect(netlink.NETLINK_NETFILTER, "nftables") as link:
        for content in netlink.dump(link, GETSETELEM, _where(where)):
            for mark, addresses in _listed(where.version, content):
                found.setdefault(mark, []).append(addresses)
    return {mark: b"".join(parts) for mark, parts in found.items()}


def counted(where: Map, most: int) -> dict[int, int]:
    """How many elements of a map have each mark; of a large map, about the first `most`."""
    found: dict[int, int] = {}
    with netlink.connect(netlink.NETLINK_NETFILTER, "nftables") as link:
        for content in netlink.dump(link, GETSETELEM, _where(where)):
            for mark, addresses in _listed(where.version, content):
                found[mark] = found.get(mark, 0) + len(addresses) // WIDTH[where.version]
            if sum(found.values()) >= most:
                break
    return found


def _listed(version: int, content: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements of a message; mostly all are alike but for their addresses."""
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
        yield mark, address


def _parsed(element: bytes) -> tuple[bytes, int]:
    found = dict(netlink.attributes(element, 0))
    key, data = (dict(netlink.attributes(found[kind], 0))[VALUE] for kind in (KEY, DATA))
    return key, NUMBER.unpack(data)[0]
