"""Local routes: RTM_NEWROUTE in chunks of a megabyte, each with one acknowledgement."""

import socket
import struct
from pathlib import Path

import numpy as np

from benchmarks.raw import wire

# linux/rtnetlink.h
RTM_NEWROUTE, RTM_DELROUTE = 24, 25
LOCAL, TABLE, PROTOCOL, SCOPE_HOST = 2, 255, 99, 254
RTA_DST, RTA_OIF = 1, 4
ROUTE = struct.Struct("=BBBBBBBBI")
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
CHUNK = 1 << 20
FLAGS = {RTM_NEWROUTE: wire.NLM_F_CREATE | wire.NLM_F_EXCL, RTM_DELROUTE: 0}


def packed(verb: str, keys: wire.Rows) -> list[bytes]:
    """Return chunks to send to NETLINK_ROUTE."""
    kind = RTM_NEWROUTE if verb == "add" else RTM_DELROUTE
    table = wire.rows(*_template(kind, keys.shape[1]), keys)
    return [_acknowledged(chunk) for chunk in wire.slices(table, CHUNK)]


def _template(kind: int, width: int) -> tuple[bytes, int]:
    """Return a message, and where its key is."""
    version = 4 if width == 4 else 6
    scope = SCOPE_HOST if version == 4 else 0
    head = ROUTE.pack(FAMILY[version], 8 * width, 0, 0, TABLE, PROTOCOL, scope, LOCAL, 0)
    device = wire.attribute(RTA_OIF, struct.pack("=I", socket.if_nametoindex("lo")))
    content = head + device + wire.attribute(RTA_DST, bytes(width))
    whole = wire.message(kind, FLAGS[kind], content)
    return whole, len(whole) - width


def _acknowledged(chunk: wire.Rows) -> bytes:
    last = chunk[-1].copy()
    header = last[: wire.HEADER.size].tobytes()
    size, kind, flags, _, port = wire.HEADER.unpack(header)
    fresh = wire.HEADER.pack(size, kind, flags | wire.NLM_F_ACK, wire.LAST, port)
    last[: wire.HEADER.size] = np.frombuffer(fresh, np.uint8)
    packed: bytes = chunk[:-1].tobytes() + last.tobytes()
    return packed


def count(version: int) -> int:
    """Return how many routes there are; the IPv4 tables `main` and `local` are one, or one is."""
    if version == 6:
        return int(Path("/proc/thread-self/net/rt6_stats").read_text().split()[3], 16)
    lines = Path("/proc/thread-self/net/fib_triestat").read_text().splitlines()
    found = [int(line.split()[1]) for line in lines if line.split()[:1] == ["Prefixes:"]]
    return max(found)
