"""A million prefixes in minutes of a guest that counts: packed netlink messages, for any method.

What a method makes is made by it, with one prefix; the others follow as it would write them, but
not through libnftables, which takes a hundred thousand instructions for each.
"""

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from vipctl import localroutes, methods, netlink
from vipctl.localroutes import Prefix
from vipctl.model import Acceptance, Entry, Shape
from vipctl.netlink import ATTRIBUTE, NLM_F_CREATE, NUMBER, attribute
from vipctl.prefixes import BITS
from vipctl.ruleset import map_name

# linux/netlink.h, netfilter.h, netfilter/nfnetlink.h and nf_tables.h
NETLINK_NETFILTER = 12
BATCH_BEGIN, BATCH_END = 0x10, 0x11
NEWSETELEM = 10 << 8 | 12
SUBSYSTEM = bytes((0, 0, 0, 10))  # a batch's struct nfgenmsg: for nf_tables
TABLE, SET, ELEMENTS = 1, 2, 3
ELEMENT, KEY, DATA, VALUE = 1, 1, 2, 1
NESTED = 0x8000
FAMILY = {"inet": 1, "arp": 3}
CHUNK = 1_500  # elements of a message, whose attribute must be shorter than 64 kB
MESSAGES = 10  # of a transaction

# By method: family, name, IP versions whose elements a table has.
TABLES: dict[str, list[tuple[str, str, tuple[int, ...]]]] = {
    "fwmark": [("inet", "vipctl", (4, 6))],
    "route": [("inet", "vipctl_route", (4, 6)), ("arp", "vipctl_route", (4,))],
}


def load(method: str, acceptance: Acceptance, entries: Iterable[Entry]) -> None:
    """Load entries, all of one shape, into the calling thread's namespace."""
    first, *others = entries
    methods.get(method).load(acceptance, [first])
    for family, table, versions in TABLES[method]:
        if first.shape.version in versions:
            _add_elements(family, table, first.shape, others)
    if method == "route":
        localroutes.add(Prefix(e.shape.version, e.start, e.shape.length) for e in others)


def _add_elements(family: str, table: str, shape: Shape, entries: Sequence[Entry]) -> None:
    head = bytes((FAMILY[family], 0, 0, 0)) + _text(TABLE, table) + _text(SET, map_name(shape))
    todo = iter(entries)
    with _nftables() as link:
        while chunks := [c for _ in range(MESSAGES) if (c := list(islice(todo, CHUNK)))]:
            *most, last = (_message(head, chunk) for chunk in chunks)
            packed = [netlink.pack(BATCH_BEGIN, 0, SUBSYSTEM), *most]
            packed += [netlink.acknowledging(last), netlink.pack(BATCH_END, 0, SUBSYSTEM)]
            link.sendall(b"".join(packed))
            for failure in netlink.failures(link):
                raise OSError(failure.failure(), os.strerror(failure.failure()))


def _message(head: bytes, chunk: Sequence[Entry]) -> bytes:
    elements = b"".join(map(_element, chunk))
    return netlink.pack(NEWSETELEM, NLM_F_CREATE, head + attribute(ELEMENTS | NESTED, elements))


def _element(entry: Entry) -> bytes:
    """Pack an address and its mark."""
    size = BITS[entry.shape.version] // 8
    key = ATTRIBUTE.pack(8 + size, KEY | NESTED) + ATTRIBUTE.pack(4 + size, VALUE)
    mark = attribute(DATA | NESTED, attribute(VALUE, NUMBER.pack(entry.mark)))
    whole = key + entry.start.to_bytes(size, "big") + mark
    return ATTRIBUTE.pack(4 + len(whole), ELEMENT | NESTED) + whole


def _text(kind: int, text: str) -> bytes:
    raw = text.encode() + b"\0"
    return ATTRIBUTE.pack(4 + len(raw), kind) + raw + bytes(-len(raw) % 4)


@contextmanager
def _nftables() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as link:
        link.setsockopt(socket.SOL_SOCKET, netlink.SO_SNDBUFFORCE, netlink.BUFFER)
        yield link
