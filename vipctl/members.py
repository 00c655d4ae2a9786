"""Members of ipsets of type hash:net from prefix to mark, packed by hand: thousands to a message.

The command ipset takes text, and most of its time to read it. Numbers are from
include/uapi/linux/netfilter/ipset/ip_set.h.
"""

import os
import struct
from collections.abc import Iterator

from vipctl import netlink, spans
from vipctl.errors import KernelError
from vipctl.netlink import NLA_F_NESTED, NLA_F_NET_BYTEORDER, acknowledging, attribute
from vipctl.prefixes import FAMILY
from vipctl.spans import WIDTH

ADD, DELETE, TEST = (6 << 8 | number for number in (9, 10, 11))  # NFNL_SUBSYS_IPSET, IPSET_CMD_…
PROTOCOL, SETNAME, DATA, ADT, LINENO = 1, 2, 7, 8, 9  # IPSET_ATTR_…
IP, CIDR, SKBMARK = 1, 3, 27
ADDRESS = {4: 1 | NLA_F_NET_BYTEORDER, 6: 2 | NLA_F_NET_BYTEORDER}  # IPSET_ATTR_IPADDR_…
SPOKEN = 6  # IPSET_PROTOCOL_MIN
ALL_BITS = 0xFFFFFFFF
NAMES = {4097: "the protocol", 4104: "the prefix length", 4352: "the set is full"}  # IPSET_ERR_…
LIMIT = 65_535 - 4  # bytes of members in an attribute
ADDRESS_AT = 12  # where a member has its address, behind three headers
NFGENMSG = struct.Struct(">BBH")  # family, version, resource


def add(name: str, version: int, length: int, mark: int, addresses: bytes) -> None:
    """What is there already gets this mark. Raises KernelError."""
    value = attribute(SKBMARK | NLA_F_NET_BYTEORDER, struct.pack(">II", mark, ALL_BITS))
    _send(ADD, name, version, _chunks(version, length, addresses, value))


def delete(name: str, version: int, length: int, addresses: bytes) -> None:
    """What is gone already is no error."""
    _send(DELETE, name, version, _chunks(version, length, addresses, b""))


def present(name: str, version: int, length: int, address: bytes) -> bool:
    """Whether there is such a member, whatever its mark; for a single address, or a prefix of it.

    Not where there is no such set.
    """
    (member,) = _chunks(version, length, address, b"")
    with netlink.connect(netlink.NETLINK_NETFILTER, "ipset") as link:
        answer = netlink.ask(link, TEST, netlink.NLM_F_ACK, _head(name, version) + member)
    return answer.failure() == 0


def _chunks(version: int, length: int, addresses: bytes, behind: bytes) -> Iterator[bytes]:
    width = WIDTH[version]
    address = attribute(ADDRESS[version], bytes(width))
    content = attribute(IP | NLA_F_NESTED, address) + attribute(CIDR, bytes([length])) + behind
    template = attribute(DATA | NLA_F_NESTED, content)
    packed = spans.records(template, ADDRESS_AT, width, addresses)
    size = LIMIT // len(template) * len(template)
    return (packed[at : at + size] for at in range(0, len(packed), size))


def _send(command: int, name: str, version: int, chunks: Iterator[bytes]) -> None:
    head = _head(name, version)
    with netlink.connect(netlink.NETLINK_NETFILTER, "ipset") as link:
        for chunk in chunks:
            line = attribute(LINENO, netlink.NUMBER.pack(1))
            members = attribute(ADT | NLA_F_NESTED, chunk)
            link.sendall(acknowledging(netlink.pack(command, 0, head + line + members)))
            for answer in netlink.failures(link):
                raise _refusal(name, answer.failure())


def _head(name: str, version: int) -> bytes:
    spoken = attribute(PROTOCOL, bytes([SPOKEN])) + attribute(SETNAME, name.encode() + b"\0")
    return NFGENMSG.pack(FAMILY[version], 0, 0) + spoken


def _refusal(name: str, code: int) -> KernelError:
    """Its own codes begin at 4096."""
    words = os.strerror(code) if code < 4096 else NAMES.get(code, f"error {code}")
    return KernelError(f"ipset: {name}: {words}", hint="see what is there: ipset list -t")
