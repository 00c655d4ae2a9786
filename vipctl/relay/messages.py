"""Messages of IPVS's connection sync, version 1: read and made. Pure.

A message is a header and records, one for each connection. Its form is not in the kernel's uapi:
net/netfilter/ipvs/ip_vs_sync.c has it, and what of it a director takes. This is stricter, so that
what passes is what the kernel writes: `made(read(message))` is the message again, byte by byte.
"""

import struct
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

VERSION = 1  # SYNC_PROTO_VER
LONGEST = 1472  # bytes that the kernel takes on a device of MTU 1500
HEADER = struct.Struct(">BBHBbH")  # struct ip_vs_sync_mesg: 0, id, size, records, version, 0
# struct ip_vs_sync_v4: type, protocol, size, flags, state, ports of client, VIP and real server,
# fwmark, timeout; and the three addresses.
FORMS = {0: struct.Struct(">BBHIHHHHII4s4s4s"), 1: struct.Struct(">BBHIHHHHII16s16s16s")}
TEMPLATE = 0x1000  # IP_VS_CONN_F_TEMPLATE, include/uapi/linux/ip_vs.h
SEQUENCES, ENGINE_DATA, ENGINE = 1, 2, 3  # IPVS_OPT_SEQ_DATA, IPVS_OPT_PE_DATA, IPVS_OPT_PE_NAME
BOUNDS = {SEQUENCES: (24, 24), ENGINE_DATA: (1, 255), ENGINE: (1, 16)}  # bytes
MOST = 255  # records of a message, whose number is a byte

Key = tuple[int, bytes, int, bytes, int, bool]


class Malformed(ValueError):
    """No message that the kernel would write; says why."""


class Record(NamedTuple):
    """One connection. Addresses are packed, `timeout` is in seconds, `data` is all as it came.

    A template stands for the connections of a client, or of its network, to a persistent service:
    that of a fwmark has the mark in place of the VIP.
    """

    sync_id: int
    protocol: int
    flags: int
    client_port: int
    vip_port: int
    real_port: int
    fwmark: int
    timeout: int
    client: bytes
    vip: bytes
    real: bytes
    data: bytes

    @property
    def template(self) -> bool:
        return bool(self.flags & TEMPLATE)

    @property
    def key(self) -> Key:
        """What a director tells its connections apart by."""
        ends = self.client, self.client_port, self.vip, self.vip_port
        return self.protocol, *ends, self.template


def read(message: bytes) -> tuple[Record, ...]:
    """Raises Malformed if anything of it is: then nothing of it is to be believed."""
    if len(message) < HEADER.size:
        raise Malformed("it is shorter than a header")
    zero, sync_id, size, number, version, spare = HEADER.unpack_from(message)
    if (zero, version, spare) != (0, VERSION, 0):
        raise Malformed("it is not of version 1")
    if size != len(message) or size > LONGEST or not number:
        raise Malformed("its header has another size, or no records")
    records, at = [], HEADER.size
    for _ in range(number):
        start = _aligned(at)
        if any(message[at:start]):
            raise Malformed("there is something between two records")
        record = _record(sync_id, message, start)
        records.append(record)
        at = start + len(record.data)
    if at != size:
        raise Malformed("there is something behind the last record")
    return tuple(records)


def made(records: Iterable[Record]) -> Iterator[bytes]:
    """Messages with these records, as few as their order and their ids allow."""
    for sync_id, of_one in groupby(records, attrgetter("sync_id")):
        body, number = b"", 0
        for record in of_one:
            padded = body + bytes(_aligned(len(body)) - len(body)) + record.data
            if HEADER.size + len(padded) > LONGEST or number == MOST:
                yield _message(sync_id, body, number)
                padded, number = record.data, 0
            body, number = padded, number + 1
        yield _message(sync_id, body, number)


def _message(sync_id: int, body: bytes, number: int) -> bytes:
    return HEADER.pack(0, sync_id, HEADER.size + len(body), number, VERSION, 0) + body


def _aligned(at: int) -> int:
    return (at + 3) & ~3


def _record(sync_id: int, message: bytes, at: int) -> Record:
    form = FORMS.get(message[at]) if at < len(message) else None
    if form is None or at + form.size > len(message):
        raise Malformed("a record is cut off, or of no IP version")
    _, protocol, size, flags, _, *rest = form.unpack_from(message, at)
    if not form.size <= size <= len(message) - at:  # its upper bits, the version, must be 0 too
        raise Malformed("a record has a wrong size")
    data = message[at : at + size]
    _check_parameters(data, form.size)
    return Record._make([sync_id, protocol, flags, *rest, data])


def _check_parameters(data: bytes, at: int) -> None:
    """What follows the addresses: each parameter once, a persistence engine's with its name."""
    found: set[int] = set()
    while at < len(data):
        kind, size = data[at], data[at + 1] if at + 1 < len(data) else 0
        low, high = BOUNDS.get(kind, (0, -1))
        if not low <= size <= high or kind in found or at + 2 + size > len(data):
            raise Malformed("a record has a parameter that is unknown, doubled or cut off")
        found.add(kind)
        at += 2 + size
    if (ENGINE in found) != (ENGINE_DATA in found):
        raise Malformed("a record has half a persistence engine")
