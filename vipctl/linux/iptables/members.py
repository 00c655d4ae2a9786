"""Members of ipsets of type hash:net from prefix to mark, packed by hand: thousands to a message.

The command ipset reads text, which takes most of its time. Numbers are from
include/uapi/linux/netfilter/ipset/ip_set.h.
"""

import os
import struct
from collections.abc import Iterator, Mapping

from vipctl.addresses import spans
from vipctl.addresses.few import WIDTH
from vipctl.addresses.prefixes import AF
from vipctl.errors import KernelError
from vipctl.linux import dumps, netlink
from vipctl.linux.netlink import NLA_F_NESTED, NLA_F_NET_BYTEORDER, acknowledging, attribute

LIST, ADD, DELETE, TEST = (6 << 8 | n for n in (7, 9, 10, 11))  # NFNL_SUBSYS_IPSET, IPSET_CMD_…
PROTOCOL, SETNAME, DATA, ADT, LINENO = 1, 2, 7, 8, 9  # IPSET_ATTR_…
IP, CIDR, CADT_FLAGS, SKBMARK = 1, 3, 8, 27
NOMATCH = (1 << 2).to_bytes(4, "big")  # IPSET_FLAG_NOMATCH
ADDRESS = {4: 1 | NLA_F_NET_BYTEORDER, 6: 2 | NLA_F_NET_BYTEORDER}  # IPSET_ATTR_IPADDR_…
SPOKEN = 6  # IPSET_PROTOCOL_MIN
ALL_BITS = 0xFFFFFFFF
UNUSUAL = -1  # stands for length and mark of a member that vipctl would not make
NAMES = {4097: "the protocol", 4104: "the prefix length", 4352: "the set is full"}  # IPSET_ERR_…
LIMIT = 65_535 - 4  # bytes of members in an attribute
ADDRESS_AT = 12  # where a member has its address, behind three headers
NFGENMSG = struct.Struct(">BBH")  # family, version, resource
UNMARKED = struct.pack(">II", 0, ALL_BITS)

Members = dict[tuple[int, int], bytes]  # packed addresses by prefix length and mark


def add(name: str, version: int, length: int, mark: int, addresses: bytes) -> None:
    """Adds members; those that exist get this mark. Raises KernelError."""
    value = attribute(SKBMARK | NLA_F_NET_BYTEORDER, struct.pack(">II", mark, ALL_BITS))
    _send(ADD, name, version, _chunks(version, length, addresses, value))


def delete(name: str, version: int, length: int, addresses: bytes) -> None:
    """Deleting a member that does not exist is no error. Raises KernelError."""
    _send(DELETE, name, version, _chunks(version, length, addresses, b""))


def present(name: str, version: int, length: int, address: bytes) -> bool:
    """Whether there is such a member, whatever its mark; for a single address, or a prefix of it.

    Not where there is no such set.
    """
    (member,) = _chunks(version, length, address, b"")
    with netlink.connect(netlink.NETLINK_NETFILTER, "ipset") as link:
        answer = netlink.ask(link, TEST, netlink.NLM_F_ACK, _head(name, version) + member)
    return answer.failure() == 0


def read(name: str, version: int) -> Members:
    """All members of a set, without those of `ipset.keep_length`."""
    at = ADDRESS_AT - netlink.ATTRIBUTE.size
    end = at + WIDTH[version]
    found: dict[tuple[bytes, bytes], bytearray] = {}
    with netlink.connect(netlink.NETLINK_NETFILTER, "ipset") as link:
        for content in dumps.dump(link, LIST, _head(name, version)):
            packed = dict(netlink.attributes(content, NFGENMSG.size)).get(ADT, b"")
            for _, member in netlink.attributes(packed, 0):
                found.setdefault((member[:at], member[end:]), bytearray()).extend(member[at:end])
    return _sorted_out(version, found)


def _sorted_out(version: int, found: Mapping[tuple[bytes, bytes], bytearray]) -> Members:
    """Groups addresses by length and mark, parsing the bytes around equal ones only once."""
    unspecified, members = bytes(WIDTH[version]), dict[tuple[int, int], bytes]()
    for (before, behind), addresses in found.items():
        member = dict(netlink.attributes(before + unspecified + behind, 0))
        if not (addresses == unspecified and member.get(CADT_FLAGS) == NOMATCH):
            key = _length_and_mark(member)
            members[key] = members.get(key, b"") + addresses
    return members


def _length_and_mark(member: Mapping[int, bytes]) -> tuple[int, int]:
    mark, mask = struct.unpack(">II", member.get(SKBMARK, UNMARKED))
    if member.keys() - {IP, CIDR, SKBMARK} or mask != ALL_BITS:
        return UNUSUAL, UNUSUAL
    return member[CIDR][0], mark


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
                raise _refused(name, answer.failure())


def _head(name: str, version: int) -> bytes:
    spoken = attribute(PROTOCOL, bytes([SPOKEN])) + attribute(SETNAME, name.encode() + b"\0")
    return NFGENMSG.pack(AF[version], 0, 0) + spoken


def _refused(name: str, code: int) -> KernelError:
    """ipset's own error codes begin at 4096."""
    words = os.strerror(code) if code < 4096 else NAMES.get(code, f"error {code}")
    return KernelError(f"ipset: {name}: {words}", hint="see what is there: ipset list -t")
