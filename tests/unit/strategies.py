"""Hypothesis strategies: sets of addresses in small windows, services of every kind."""

from collections.abc import Iterable
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

from hypothesis import strategies as st

from vipctl.addresses.few import BITS, Span
from vipctl.addresses.prefixes import AddressSet, from_spans
from vipctl.services.marks import acceptance_name
from vipctl.services.ports import port, union
from vipctl.services.real import RealServer, real_key
from vipctl.services.service import Service
from vipctl.services.syntax import MAX_PERSISTENCE
from vipctl.services.values import SCHEDULERS, Forward, Leftover, Persistence, Port, Scheduler

WIDTH = 40  # addresses in a window: small enough to be counted one by one
PUBLIC = {4: int(IPv4Address("203.0.113.0")), 6: int(IPv6Address("2001:db8::"))}

# (version, first address) of windows at both ends, and across a carry of many bits.
WINDOWS = [
    (version, base)
    for version, bits in BITS.items()
    for base in (0, (1 << bits) - WIDTH, (1 << (bits - 1)) - WIDTH // 2)
]

# Names that a careless YAML writer would turn into something that is not a string.
NAMES = (
    "web",
    "1",
    "null",
    "true",
    "No",
    "0x1F",
    "1e3",
    "1_000",
    "2001-01-01",
    "a.b-c_d",
    "x" * 63,
)


def spans(base: int = 0) -> st.SearchStrategy[list[Span]]:
    """Spans of a window in any order, overlapping or not."""
    ends = st.tuples(st.integers(0, WIDTH - 1), st.integers(0, WIDTH - 1)).map(sorted)
    return st.lists(ends.map(lambda pair: (base + pair[0], base + pair[1])), max_size=8)


def addresses(found: Iterable[Span]) -> set[int]:
    """The naive model of spans: every address."""
    return {value for first, last in found for value in range(first, last + 1)}


def is_canonical(found: Iterable[Span]) -> bool:
    """Sorted, none empty, none overlapping or next to another."""
    listed = list(found)
    gaps = pairwise(listed)
    return all(a <= b for a, b in listed) and all(left[1] + 1 < right[0] for left, right in gaps)


def _hosts(version: int) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    if version == 4:
        return st.integers(1, 0xFFFE).map(lambda low: IPv4Address((10 << 24) + low))
    return st.integers(0, 0xFFFF).map(lambda low: IPv6Address((0xFD00 << 112) + (low << 16)))


def _real(
    address: IPv4Address | IPv6Address,
    port: int,
    weight: int,
    limits: tuple[int, int],
    forward: str,
) -> RealServer:
    return RealServer(address, port, weight, max(limits), min(limits), forward)


def reals(*, ports: bool) -> st.SearchStrategy[tuple[RealServer, ...]]:
    """Real servers as a service keeps them: sorted, each endpoint once."""
    limit = st.integers(0, 0x7FFFFFFF)
    one = st.builds(
        _real,
        st.sampled_from([4, 6]).flatmap(_hosts),
        st.integers(0, 65535) if ports else st.just(0),
        st.integers(0, 65535),
        st.tuples(limit, limit),
        st.sampled_from(["service", "nat"] if ports else ["service", "dr", "tun"]),
    )
    several = st.lists(one, max_size=4, unique_by=real_key)
    return several.map(lambda found: tuple(sorted(found, key=real_key)))


def _schedulers(forward: Forward) -> st.SearchStrategy[Scheduler]:
    def flagged(name: str) -> st.SearchStrategy[Scheduler]:
        known = Scheduler(name).known().keys() - ({"ops"} if forward is Forward.NAT else set())
        some = st.sets(st.sampled_from(sorted(known))).map(sorted) if known else st.just([])
        return some.map(lambda chosen: Scheduler(name, tuple(chosen)))

    return st.sampled_from(SCHEDULERS).flatmap(flagged)


PORTS = st.lists(
    st.builds(
        lambda protocol, first, more: port(protocol, first, min(first + more, 65535)),
        st.sampled_from(["sctp", "tcp", "udp"]),
        st.integers(1, 65535),
        st.sampled_from([0, 0, 1, 99]),
    ),
    max_size=3,
).map(union)


PERSISTENCE = st.just(Persistence()) | st.builds(
    Persistence, st.integers(1, MAX_PERSISTENCE), st.integers(1, 32), st.integers(1, 128)
)


def _engined(persistence: Persistence, ports: tuple[Port, ...]) -> st.SearchStrategy[Persistence]:
    udp = not ports or "udp" in {port.protocol for port in ports}
    engines = ["", "sip"] if udp and persistence.seconds else [""]
    return st.sampled_from(engines).map(lambda engine: persistence._replace(pe=engine))


@st.composite
def services(draw: st.DrawFn, names: st.SearchStrategy[str], marks: int) -> Service:
    """A service with the fwmark `marks`; every other field is drawn."""
    forward = draw(st.sampled_from(Forward))
    ports = draw(PORTS)
    return Service(
        name=draw(names),
        fwmark=marks,
        scheduler=draw(_schedulers(forward)),
        forward=forward,
        ports=ports,
        persistence=draw(PERSISTENCE.flatmap(lambda found: _engined(found, ports))),
        leftover=draw(st.sampled_from(Leftover)),
        ping=draw(st.booleans()),
        set_sysctls=draw(st.booleans()),
        reals=draw(reals(ports=forward is Forward.NAT)),
    )


def acceptance(mark: int) -> st.SearchStrategy[Service]:
    """An acceptance-only service of that fwmark."""
    return st.builds(
        partial(Service, acceptance_name(mark), mark),  # of the type itself it would draw all
        ports=PORTS,
        leftover=st.sampled_from(Leftover),
        ping=st.booleans(),
    )


@st.composite
def vips(draw: st.DrawFn, *, least: int = 0) -> AddressSet:
    """A set of addresses of both IP versions that may be VIPs; `least` addresses at least."""
    found = [(version, span) for version in BITS for span in draw(spans(PUBLIC[version]))]
    wanted = from_spans(found)
    return wanted if wanted.size() >= least else from_spans([(4, (PUBLIC[4], PUBLIC[4]))])
