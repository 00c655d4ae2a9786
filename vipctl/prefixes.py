"""Address-set arithmetic: parse, union, difference, overlap, prefixes. Pure.

A *span* is a pair of integers, first and last address, both inside. A set of addresses of one IP
version is a sorted list of spans that neither overlap nor touch; that form is unique, and so are
the prefixes cut from it: the minimal list that covers exactly the set.
"""

import ipaddress
import socket
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter

from vipctl.errors import Refused, UsageError

Span = tuple[int, int]
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

BITS = {4: 32, 6: 128}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
VERSIONS = (4, 6)
MAX_QUOTED = 100  # characters


@dataclass(frozen=True, slots=True)
class AddressSet:
    """A set of IPv4 and IPv6 addresses in canonical form."""

    v4: tuple[Span, ...] = ()
    v6: tuple[Span, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.v4 or self.v6)

    def spans(self, version: int) -> tuple[Span, ...]:
        return self.v4 if version == 4 else self.v6

    def prefixes(self) -> Iterator[IPNetwork]:
        """The minimal list of prefixes, IPv4 first, in order."""
        for version in VERSIONS:
            for first, last in self.spans(version):
                for start, length in cut(version, first, last):
                    yield network(version, start, length)

    def __contains__(self, found: IPAddress) -> bool:
        spans = self.spans(found.version)
        at = bisect_right(spans, int(found), key=itemgetter(0)) - 1
        return at >= 0 and int(found) <= spans[at][1]

    def size(self) -> int:
        return sum(last - first + 1 for first, last in chain(self.v4, self.v6))


def from_spans(spans: Iterable[tuple[int, Span]]) -> AddressSet:
    """The set of all (version, span) given, in any order, overlapping or not."""
    lists: dict[int, list[Span]] = {4: [], 6: []}
    for version, span in spans:
        lists[version].append(span)
    return AddressSet(tuple(normalise(lists[4])), tuple(normalise(lists[6])))


def normalise(spans: Iterable[Span]) -> list[Span]:
    """Sorted, with overlapping and touching spans joined."""
    joined: list[Span] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1] + 1:
            if last > joined[-1][1]:
                joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def union(left: Iterable[Span], right: Iterable[Span]) -> list[Span]:
    return normalise(chain(left, right))


def difference(left: Iterable[Span], right: Iterable[Span]) -> list[Span]:
    """`left` without the addresses of `right`; both canonical."""
    rest: list[Span] = []
    holes = iter(right)
    hole = next(holes, None)
    for span in left:
        first, last = span
        while hole is not None and hole[1] < first:
            hole = next(holes, None)
        while hole is not None and hole[0] <= last:
            if hole[0] > first:
                rest.append((first, hole[0] - 1))
            first = hole[1] + 1
            if hole[1] >= last:
                break
            hole = next(holes, None)
        if first <= last:
            rest.append((first, last))
    return rest


def cut(version: int, first: int, last: int) -> Iterator[tuple[int, int]]:
    """The minimal prefixes of one span, in order, as (network address, length)."""
    bits = BITS[version]
    while first <= last:
        room = (last - first + 1).bit_length() - 1
        aligned = (first & -first).bit_length() - 1 if first else bits
        host_bits = min(room, aligned)
        yield first, bits - host_bits
        first += 1 << host_bits


def address(version: int, value: int) -> IPAddress:
    return ipaddress.IPv4Address(value) if version == 4 else ipaddress.IPv6Address(value)


def network(version: int, start: int, length: int) -> IPNetwork:
    if version == 4:
        return ipaddress.IPv4Network((start, length))
    return ipaddress.IPv6Network((start, length))


def span_text(version: int, span: Span) -> str:
    """How an operator would type the span: a prefix where it is one, else FIRST-LAST."""
    pieces = list(cut(version, *span))
    if len(pieces) == 1:
        prefix = network(version, *pieces[0])
        return str(prefix.network_address if prefix.num_addresses == 1 else prefix)
    return f"{address(version, span[0])}-{address(version, span[1])}"


def parse_address(text: str) -> tuple[int, int]:
    """One address as (version, value). Raises UsageError."""
    version = 6 if ":" in text else 4
    try:
        return version, int.from_bytes(socket.inet_pton(FAMILY[version], text), "big")
    except (OSError, ValueError) as e:
        raise UsageError(
            f"{quoted(text)} is not an IPv4 or IPv6 address",
            hint="write 203.0.113.7, 203.0.113.0/24, 203.0.113.10-203.0.113.99 or 2001:db8::/64",
        ) from e


def parse_range(text: str) -> tuple[int, Span]:
    """One RANGE: an address, PREFIX/LENGTH or FIRST-LAST. Raises UsageError or Refused."""
    try:
        version, span = _parse(text)
    except UsageError as e:
        if quoted(text) in e.message:
            raise
        raise UsageError(f"{quoted(text)}: {e.message}", hint=e.hint) from e
    refuse_reserved(text, version, span)
    return version, span


def _parse(text: str) -> tuple[int, Span]:
    if "/" in text:
        return _parse_prefix(text)
    if "-" in text:
        return _parse_first_last(text)
    version, value = parse_address(text)
    return version, (value, value)


def quoted(text: str) -> str:
    """The item as a message shows it."""
    return repr(text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + "…")


def _parse_prefix(text: str) -> tuple[int, Span]:
    base, _, tail = text.partition("/")
    version, first = parse_address(base)
    bits = BITS[version]
    if not (tail.isascii() and tail.isdigit()) or len(tail) > 3 or int(tail) > bits:
        raise UsageError(
            f"{quoted(text)}: the prefix length must be a number from 1 to {bits}",
            hint=f"for one address leave the length out: {base}",
        )
    mask = (1 << (bits - int(tail))) - 1
    if first & mask:
        right = f"{network(version, first & ~mask, int(tail))}, or " if int(tail) else ""
        raise Refused(f"{text} has host bits set", hint=f"did you mean {right}{base} alone?")
    return version, (first, first | mask)


def _parse_first_last(text: str) -> tuple[int, Span]:
    head, _, tail = text.partition("-")
    (version, first), (other, last) = parse_address(head.strip()), parse_address(tail.strip())
    if version != other:
        raise UsageError(f"{quoted(text)} mixes IPv4 and IPv6", hint="write one range for each")
    if first > last:
        raise UsageError(
            f"{quoted(text)} ends before it starts",
            hint=f"did you mean {tail.strip()}-{head.strip()}?",
        )
    return version, (first, last)


RESERVED: tuple[tuple[str, str], ...] = (
    ("0.0.0.0/8", "this network"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("::/128", "the unspecified address"),
    ("::1/128", "loopback"),
    ("::ffff:0:0/96", "IPv4-mapped"),
    ("fe80::/10", "link-local"),
    ("ff00::/8", "multicast"),
)
_RESERVED = tuple(
    (net.version, int(net.network_address), int(net.broadcast_address), str(net), what)
    for net, what in ((ipaddress.ip_network(block), what) for block, what in RESERVED)
)


def refuse_reserved(text: str, version: int, span: Span) -> None:
    """Raises Refused for a range that no VIP can be in."""
    first, last = span
    if first == 0 and last == (1 << BITS[version]) - 1:
        raise Refused(
            f"{text} is every address there is", hint="name the prefixes that are your VIPs"
        )
    for other, low, high, block, what in _RESERVED:
        if version == other and first <= high and low <= last:
            raise Refused(
                f"{text} holds {what} addresses ({block})",
                hint="these can never be VIPs; leave them out",
            )
