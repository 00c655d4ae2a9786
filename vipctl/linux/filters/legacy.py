"""Legacy iptables: its table `filter`, as the kernel keeps it.

Structures are those of include/uapi/linux/netfilter_ipv4/ip_tables.h, netfilter_ipv6/ip6_tables.h
and netfilter/x_tables.h. What is ours is passed over. A policy is the last rule of its chain.
"""

import _socket as socket
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from typing import NamedTuple

from vipctl import files
from vipctl.addresses.prefixes import IPAddress
from vipctl.linux.filters import matches, walk
from vipctl.linux.filters.matches import Sure, negated
from vipctl.linux.filters.packet import Device, Hook, Packet
from vipctl.linux.filters.walk import Base, Rule, Verdict

TABLE = b"filter"
NAMES = {4: "/proc/thread-self/net/ip_tables_names", 6: "/proc/thread-self/net/ip6_tables_names"}
PLACES = {4: (socket.AF_INET, socket.IPPROTO_IP), 6: (socket.AF_INET6, socket.IPPROTO_IPV6)}
GET_INFO, GET_ENTRIES = 64, 65
INFO = struct.Struct("=32sI5I5III")  # name, hooks, where each begins, its policy; entries, size
HEAD = 40  # bytes before entries
LARGEST = 1 << 18  # bytes of rules
HOOKS = (Hook.INPUT, Hook.FORWARD, Hook.OUTPUT)
VERDICTS = {-1: walk.DROP, -2: walk.ACCEPT, -5: walk.RETURN}
DATA = 32  # where that of a match or target begins
VIA_IN, VIA_OUT, SOURCE, DESTINATION, FRAGMENT, PROTOCOL = 1, 2, 8, 16, 32, 64  # inverted
NAME_SIZE = 16
OURS = "VIPCTL"


class Form(NamedTuple):
    """Where things are in an entry of an IP version."""

    address: int  # its width
    devices: int
    protocol: int
    flags: int
    fragment: int
    goto: int
    offsets: int
    matches: int


FORMS = {
    4: Form(4, devices=16, protocol=80, flags=82, fragment=1, goto=2, offsets=88, matches=112),
    6: Form(16, devices=64, protocol=128, flags=131, fragment=0, goto=4, offsets=140, matches=168),
}


class Entry(NamedTuple):
    """A rule: where it begins in the table, itself, and its target's name and data."""

    at: int
    data: bytes
    target_at: int
    target: str
    said: bytes


class Contents(NamedTuple):
    """Rules by chain, and the chain that begins at a place."""

    version: int
    chains: dict[str, list[Entry]]
    names: dict[int, str]

    def rules(self, chain: str) -> list[Rule]:
        return [partial(self.judged, entry) for entry in self.chains[chain]]

    def judged(self, entry: Entry, packet: Packet) -> Verdict:
        found = matches.both(*_matching(FORMS[self.version], entry, packet))
        if found is False:
            return Verdict()
        return self.verdict(entry)._replace(sure=bool(found))

    def verdict(self, entry: Entry) -> Verdict:
        if entry.target:
            return matches.target(entry.target)
        (number,) = struct.unpack_from("=i", entry.said)
        if number < 0:
            return Verdict(VERDICTS.get(number, walk.UNKNOWN))
        if number == entry.at + len(entry.data):
            return Verdict()  # a rule without a target
        form, name = FORMS[self.version], self.names.get(number, "")
        goes = entry.data[form.flags] & form.goto
        if name not in self.chains:
            return Verdict(walk.UNKNOWN)
        if name.startswith(OURS):
            return Verdict()
        return Verdict(walk.GOTO if goes else walk.JUMP, name)


def bases() -> Iterator[Base]:
    """Hooks of the table `filter`, where anybody has used it."""
    for version, tool in ((4, "iptables-legacy"), (6, "ip6tables-legacy")):
        if "filter" in _registered(version) and (found := _read(version)):
            for hook in HOOKS:
                if len(found.chains[hook.name]) <= walk.MOST:
                    title, versions = f"{tool} {hook.name}", frozenset({version})
                    yield Base(title, hook, 0, versions, hook.name, drops=False, read=found.rules)


def _registered(version: int) -> list[str]:
    with suppress(OSError):
        return files.text(NAMES[version]).split()
    return []


def _read(version: int) -> Contents | None:
    """None where it is large, or was changed just now."""
    family, level = PLACES[version]
    asking = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with suppress(OSError), closing(asking) as link:
        info = INFO.unpack(_option(link, level, GET_INFO, TABLE.ljust(INFO.size, b"\0")))
        size = info[-1]
        if size <= LARGEST:
            asked = struct.pack("=32sI", TABLE, size).ljust(HEAD + size, b"\0")
            blob = _option(link, level, GET_ENTRIES, asked)[HEAD:]
            return _parsed(version, blob, dict(enumerate(info[2:7])))
    return None


def _option(link: "socket.socket", level: int, name: int, asked: bytes) -> bytes:
    """getsockopt(), with a question in the buffer for its answer: Python's has none."""
    import ctypes

    buffer = ctypes.create_string_buffer(asked, len(asked))
    size = ctypes.c_uint(len(asked))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.getsockopt(link.fileno(), level, name, buffer, ctypes.byref(size)):
        raise OSError(ctypes.get_errno(), "getsockopt")
    return buffer.raw


def _parsed(version: int, blob: bytes, begins: dict[int, int]) -> Contents:
    """Each chain is behind an entry that names it, or where a hook begins."""
    names = {begins[hook]: hook.name for hook in HOOKS}
    chains: dict[str, list[Entry]] = {}
    chain = ""
    for entry in _entries(FORMS[version], blob):
        if entry.target == "ERROR":
            chain = _text(entry.said)
            names[entry.at + len(entry.data)] = chain
            continue
        chain = names.get(entry.at, chain)
        chains.setdefault(chain, []).append(entry)
    return Contents(version, chains, names)


def _entries(form: Form, blob: bytes) -> Iterator[Entry]:
    at = 0
    while at < len(blob):
        target_at, size = struct.unpack_from("=HH", blob, at + form.offsets)
        data = blob[at : at + size]
        name = _text(data[target_at + 2 : target_at + DATA - 1])
        yield Entry(at, data, target_at, name, data[target_at + DATA :])
        at += size


def _matching(form: Form, entry: Entry, packet: Packet) -> Iterator[Sure]:
    data, width = entry.data, form.address
    inverted = data[form.flags + 1]
    sides = ((0, packet.source, SOURCE), (1, packet.destination, DESTINATION))
    for n, known, flag in sides:
        wanted, mask = data[n * width :][:width], data[(n + 2) * width :][:width]
        yield negated(_addressed(known, wanted, mask), inverted & flag)
    devices = ((0, packet.arriving, VIA_IN), (1, packet.leaving, VIA_OUT))
    for n, device, flag in devices:
        at = form.devices + n * NAME_SIZE
        mask = data[at + 2 * NAME_SIZE :][:NAME_SIZE]
        yield negated(_named(device, data[at:][:NAME_SIZE], mask), inverted & flag)
    (protocol,) = struct.unpack_from("=H", data, form.protocol)
    same = None if packet.protocol is None else protocol == packet.protocol
    yield negated(same if protocol else True, inverted & PROTOCOL)
    if data[form.flags] & form.fragment or inverted & FRAGMENT:
        yield None
    at = form.matches
    while at < entry.target_at:
        (size,) = struct.unpack_from("=H", data, at)
        name, revision = _text(data[at + 2 : at + DATA - 1]), data[at + DATA - 1]
        yield matches.match(name, revision, data[at + DATA : at + size], packet)
        at += size


def _addressed(known: IPAddress | None, wanted: bytes, mask: bytes) -> Sure:
    if not any(mask):
        return True
    if known is None:
        return None
    return all(a & m == w for a, m, w in zip(known.packed, mask, wanted, strict=True))


def _named(device: Device | None, wanted: bytes, mask: bytes) -> Sure:
    if not any(mask):
        return True
    if device is None:
        return None
    name = device.name.encode().ljust(NAME_SIZE, b"\0")
    return all(a & m == w & m for a, m, w in zip(name, mask, wanted, strict=True))


def _text(name: bytes) -> str:
    return name.partition(b"\0")[0].decode(errors="replace")
