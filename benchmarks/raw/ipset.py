"""Sets of ipset: IPSET_CMD_ADD, hundreds of entries to a message, a megabyte to a system call."""

import struct
import subprocess

import numpy as np

from benchmarks.raw import wire

# linux/netfilter/nfnetlink.h and ipset/ip_set.h
NETLINK_NETFILTER = 12
CMD_FLUSH, CMD_ADD = (6 << 8 | number for number in (4, 9))
PROTOCOL, SETNAME, DATA, ADT, LINENO = 1, 2, 7, 8, 9
IP, CIDR, SKBMARK = 1, 3, 27
VERSION = 7
NAME = "vips"
MARK = 17
LIMIT = 60_000  # bytes of a message
CHUNK = 16  # messages


def packed(kind: str, verb: str, keys: wire.Rows) -> list[bytes]:
    """Return chunks for NETLINK_NETFILTER; `kind` is hash:net, with marks, or hash:ip."""
    if verb == "flush":
        return [wire.message(CMD_FLUSH, wire.NLM_F_ACK, _head(keys.shape[1]))]
    table = wire.rows(*_template(kind, keys.shape[1]), keys)
    parts, head = list(wire.slices(table, LIMIT)), _head(keys.shape[1])
    return [_chunk(head, parts[at : at + CHUNK]) for at in range(0, len(parts), CHUNK)]


def _chunk(head: bytes, parts: list[wire.Rows]) -> bytes:
    most = b"".join(_message(head, part, 0) for part in parts[:-1])
    return most + _message(head, parts[-1], wire.NLM_F_ACK)


def _head(width: int) -> bytes:
    where = struct.pack("=BBH", 2 if width == 4 else 10, 0, 0)
    name = wire.attribute(SETNAME, NAME.encode() + b"\0")
    return where + wire.attribute(PROTOCOL, bytes((VERSION,))) + name


def _message(head: bytes, part: wire.Rows, flags: int) -> bytes:
    entries = wire.attribute(ADT | wire.NESTED, part.tobytes())
    line = wire.attribute(LINENO, struct.pack("=I", 1))
    return wire.message(CMD_ADD, flags, head + line + entries)


def _template(kind: str, width: int) -> tuple[bytes, int]:
    """Return an entry, and where its key is."""
    family = 1 if width == 4 else 2
    address = wire.attribute(family | wire.NET_BYTEORDER, bytes(width))
    whole = wire.attribute(IP | wire.NESTED, address)
    if kind == "hash:net":
        mark = struct.pack(">II", MARK, 0xFFFFFFFF)
        whole += wire.attribute(CIDR, bytes((8 * width,)))
        whole += wire.attribute(SKBMARK | wire.NET_BYTEORDER, mark)
    return wire.attribute(DATA | wire.NESTED, whole), 12


def count() -> int:
    """Return how many entries the set has."""
    argv = ["ipset", "list", "-terse", NAME]
    listed = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return int(listed.rpartition("Number of entries: ")[2].split()[0])


def skeleton(kind: str, version: int, size: int) -> str:
    """Return what `ipset restore` makes before: a set that need not grow."""
    family = "inet" if version == 4 else "inet6"
    slots = 1 << int(np.ceil(np.log2(max(size, 64))))
    marks = " skbinfo" if kind == "hash:net" else ""
    return f"create {NAME} {kind} family {family} hashsize {slots} maxelem {2 * slots}{marks}\n"
