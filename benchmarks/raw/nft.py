"""A map of nftables from address to mark: NFT_MSG_NEWSETELEM, all in one batch."""

import socket
import struct

from benchmarks.raw import wire

# linux/netfilter/nfnetlink.h and nf_tables.h
BATCH_BEGIN, BATCH_END = 0x10, 0x11
NEWSETELEM, GETSETELEM, DELSETELEM = (10 << 8 | number for number in (12, 13, 14))
NETLINK_NETFILTER = 12
TABLE, SET, ELEMENTS, ELEMENT = 1, 2, 3, 1
KEY, DATA, VALUE = 1, 2, 1
NFPROTO_INET = 1
EDGE = struct.pack("=BBH", 0, 0, socket.htons(10))  # struct nfgenmsg of a batch: for nf_tables
WHERE = bytes((NFPROTO_INET, 0, 0, 0))
NAME = "vips"
MARK = 17
LIMIT = 65_000  # bytes: the length of an attribute is a number of 16 bits
BUFFER = 1 << 20


def packed(verb: str, keys: wire.Rows) -> list[bytes]:
    """Return a batch for NETLINK_NETFILTER."""
    begin, end = (wire.message(kind, 0, EDGE) for kind in (BATCH_BEGIN, BATCH_END))
    if verb == "flush":
        return [begin + wire.message(DELSETELEM, wire.NLM_F_ACK, _head()) + end]
    parts = list(wire.slices(wire.rows(*_template(keys.shape[1]), keys), LIMIT))
    most = [_message(part, 0) for part in parts[:-1]]
    return [b"".join((begin, *most, _message(parts[-1], wire.NLM_F_ACK), end))]


def _head() -> bytes:
    return WHERE + wire.attribute(TABLE, b"raw\0") + wire.attribute(SET, NAME.encode() + b"\0")


def _message(part: wire.Rows, flags: int) -> bytes:
    elements = wire.attribute(ELEMENTS | wire.NESTED, part.tobytes())
    return wire.message(NEWSETELEM, wire.NLM_F_CREATE | flags, _head() + elements)


def _template(width: int) -> tuple[bytes, int]:
    """Return an element, and where its key is."""
    key = wire.attribute(KEY | wire.NESTED, wire.attribute(VALUE, bytes(width)))
    mark = wire.attribute(VALUE, struct.pack("=I", MARK))
    whole = key + wire.attribute(DATA | wire.NESTED, mark)
    return wire.attribute(ELEMENT | wire.NESTED, whole), 12


def count(version: int) -> int:
    """Return how many elements the map has, by reading them all."""
    size = len(_template(4 if version == 4 else 16)[0])
    found = 0
    with wire.connect(NETLINK_NETFILTER, BUFFER) as link:
        link.sendall(wire.message(GETSETELEM, wire.NLM_F_DUMP, _head()))
        while True:
            for kind, _, content in wire.messages(link.recv(BUFFER)):
                if kind == wire.NLMSG_DONE:
                    return found
                found += (len(content) - len(_head()) - 4) // size


def skeleton(version: int, size: int | None = None) -> str:
    """Return what `nft -f` makes before: a map, of fixed size or not, and the rule that asks it."""
    fixed = f"size {size * 11 // 10 + 16};" if size else ""
    kind, header = ("ipv4_addr", "ip") if version == 4 else ("ipv6_addr", "ip6")
    return f"""table inet raw {{
        map {NAME} {{ type {kind} : mark; {fixed} }}
        chain prerouting {{
            type filter hook prerouting priority mangle;
            meta mark set {header} daddr map @{NAME}
        }}
    }}
    """
