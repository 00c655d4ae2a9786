"""Addresses, prefixes and ranges as people write them, and what can never be a VIP. Pure."""

import _socket as socket  # imported faster: `socket` makes enumerations of its constants
import ipaddress
from collections.abc import Iterable, Iterator
from typing import Final

from vipctl.addresses.few import BITS, WIDTH, Span, cut
from vipctl.addresses.spans import Spans
from vipctl.errors import Refused, UsageError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

AF = {4: socket.AF_INET, 6: socket.AF_INET6}
VERSIONS = (4, 6)
NOTHING = {version: Spans(version) for version in VERSIONS}
MAX_QUOTED = 100  # characters
LEAVE_OUT = "these can never be VIPs; leave them out"
BOM = "\ufeff"


class AddressSet:
    """A set of IPv4 and IPv6 addresses in canonical form."""

    __slots__ = ("v4", "v6")

    def __init__(self, v4: Spans = NOTHING[4], v6: Spans = NOTHING[6]) -> None:
        self.v4: Final = v4
        self.v6: Final = v6

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AddressSet):
            return NotImplemented
        return self.v4 == other.v4 and self.v6 == other.v6

    def __hash__(self) -> int:
        return hash((self.v4, self.v6))

    def __repr__(self) -> str:
        return f"AddressSet({self.v4}, {self.v6})"

    def __bool__(self) -> bool:
        return bool(self.v4 or self.v6)

    def spans(self, version: int) -> Spans:
        return self.v4 if version == 4 else self.v6

    def prefixes(self) -> Iterator[str]:
        """The minimal list of prefixes, IPv4 first, in order."""
        for version in VERSIONS:
            yield from texts(self.spans(version))

    def __contains__(self, found: IPAddress) -> bool:
        return self.spans(found.version).holds(int(found))

    def size(self) -> int:
        return self.v4.size() + self.v6.size()

    def count(self) -> int:
        """How many prefixes the minimal list has."""
        return sum(sum(self.spans(version).lengths().values()) for version in VERSIONS)


def from_spans(spans: Iterable[tuple[int, Span]]) -> AddressSet:
    """The set of all (version, span) given, in any order, overlapping or not."""
    pairs: dict[int, list[Span]] = {4: [], 6: []}
    for version, span in spans:
        pairs[version].append(span)
    return AddressSet(Spans.from_pairs(4, pairs[4]), Spans.from_pairs(6, pairs[6]))


def texts(spans: Spans) -> Iterator[str]:
    """The minimal prefixes, in order. Single addresses have a shortcut: there may be many."""
    version, data, width = spans.version, spans.data, WIDTH[spans.version]
    family, alone = AF[version], f"/{BITS[version]}"
    for at in range(0, len(data), 2 * width):
        first, last = data[at : at + width], data[at + width : at + 2 * width]
        if first == last:
            yield socket.inet_ntop(family, first) + alone
        else:
            ends = (int.from_bytes(end, "big") for end in (first, last))
            for start, length in cut(version, *ends):
                yield f"{text(version, start)}/{length}"


def text(version: int, value: int) -> str:
    return socket.inet_ntop(AF[version], value.to_bytes(WIDTH[version], "big"))


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


def bracketed(value: IPAddress) -> str:
    """As it stands before a colon and a port."""
    return f"[{value}]" if value.version == 6 else str(value)


def parse_address(text: str) -> tuple[int, int]:
    """One address as (version, value). Raises UsageError."""
    refuse_strange(text)
    version = 6 if ":" in text else 4
    try:
        return version, int.from_bytes(socket.inet_pton(AF[version], text), "big")
    except (OSError, ValueError) as e:
        forms = "203.0.113.7, 203.0.113.0/24, 203.0.113.10-203.0.113.99 or 2001:db8::/64"
        several = "/" in text or "-" in text
        raise UsageError(
            f"{quoted(text)} is not an IPv4 or IPv6 address",
            hint="name one address, such as 203.0.113.7" if several else f"write {forms}",
        ) from e


def parse_range(text: str) -> tuple[int, Span]:
    """One RANGE: an address, PREFIX/LENGTH or FIRST-LAST. Raises UsageError or Refused."""
    refuse_strange(text)
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
    """What an operator typed, as a message shows it: in quotes, and not at any length."""
    return repr(text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + "…")


def refuse_strange(text: str) -> None:
    """Raises UsageError that names the first non-ASCII character: it may look like an ASCII one."""
    strange = next((c for c in text if not c.isascii()), None)
    if strange is None:
        return
    import unicodedata

    category = unicodedata.category(strange)
    hint = {"Pd": "write - for it", "Zs": "write a plain space, or none", "Cf": "leave it out"}
    name = unicodedata.name(strange, "no character") if strange != BOM else "BYTE ORDER MARK"
    raise UsageError(
        f"{quoted(text)} has a {name} (U+{ord(strange):04X}) in it",
        hint=hint.get(category, "an address has digits, a to f, dots and colons"),
    )


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
_RESERVED = tuple((*_parse_prefix(block), block, what) for block, what in RESERVED)


def reserved(version: int) -> Iterator[Span]:
    """The spans of one IP version that no VIP can be in."""
    return (found for other, found, _, _ in _RESERVED if other == version)


def refuse_reserved(text: str, version: int, span: Span, hint: str = LEAVE_OUT) -> None:
    """Raises Refused for a range that no VIP can be in, nor a real server."""
    first, last = span
    if first == 0 and last == (1 << BITS[version]) - 1:
        raise Refused(
            f"{text} is every address there is", hint="name the prefixes that are your VIPs"
        )
    for other, (low, high), block, what in _RESERVED:
        if version == other and first <= high and low <= last:
            raise Refused(f"{text} holds {what} addresses ({block})", hint=hint)
