"""Hypothesis strategies: sets of addresses in small windows, services of every kind."""

import re
from collections.abc import Iterable
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from vipctl.addresses.few import BITS, Span
from vipctl.addresses.prefixes import AddressSet, from_spans
from vipctl.services.agents import Agent
from vipctl.services.checks import MOST_TIMES, RECORDS, Check
from vipctl.services.marks import acceptance_name
from vipctl.services.ports import port, union
from vipctl.services.real import RealServer, real_key
from vipctl.services.service import Service
from vipctl.services.syntax import MAX_PERSISTENCE
from vipctl.services.values import (
    FED_BACK,
    SCHEDULERS,
    TUNNELS,
    AllDown,
    CheckVia,
    Feedback,
    Forward,
    Leftover,
    Persistence,
    Port,
    Scheduler,
    Tunnel,
)

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
    way: tuple[str, Tunnel, str],
) -> RealServer:
    return RealServer(address, port, weight, max(limits), min(limits), *way)


def _ways(forwards: list[str]) -> st.SearchStrategy[tuple[str, Tunnel, str]]:
    """Forwarding method, tunnel, family."""
    plain = st.tuples(st.sampled_from(forwards), st.just(Tunnel()), st.just("own"))
    if "tun" not in forwards:
        return plain
    kinds = [(kind, checksum) for kind, found in TUNNELS.items() for checksum in found]
    tunnels = st.builds(
        lambda one, port: Tunnel(one[0], port if one[0] == "gue" else 0, one[1]),
        st.sampled_from(kinds),
        st.integers(1, 65535),
    )
    return plain | st.tuples(st.just("tun"), tunnels, st.sampled_from(["own", "both"]))


def reals(*, ports: bool) -> st.SearchStrategy[tuple[RealServer, ...]]:
    """Real servers as a service keeps them: sorted, each endpoint once."""
    limit = st.integers(0, 0x7FFFFFFF)
    one = st.builds(
        _real,
        st.sampled_from([4, 6]).flatmap(_hosts),
        st.integers(0, 65535) if ports else st.just(0),
        st.integers(0, 65535),
        st.tuples(limit, limit),
        _ways(["service", "nat"] if ports else ["service", "dr", "tun"]),
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


TIMES = st.integers(100, 100_000).map(lambda milliseconds: milliseconds / 1000)
_HOSTS = st.from_regex(r"[a-z0-9]{1,9}(\.[a-z]{2,9}){0,2}", fullmatch=True)
_PATHS = st.from_regex(r"/([!-.0-\[\]-~][!-\[\]-~]{0,9})?", fullmatch=True)
_PORTS = st.just(0) | st.integers(1, 65535)
_BYTES = st.binary(min_size=1, max_size=9)
_STATUS = st.lists(st.integers(100, 599), min_size=2, max_size=2).map(
    lambda two: (min(two), max(two))
)
_LETTERS = "ab,.*() \n=é"
_REGEXES = st.builds(  # a backslash at the end is none that a check may have
    lambda begin, end: re.escape(begin + end), st.text(_LETTERS + "\\"), st.sampled_from(_LETTERS)
) | st.sampled_from(["", "a{2,3}", "[^,]+", r"\d+,\s"])
_WEB = {
    "what": _PATHS, "port": _PORTS, "status": _STATUS, "body": _REGEXES,
    "host": st.just("") | _HOSTS,
}  # fmt: skip
_OF_KIND: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "tcp": {"port": _PORTS},
    "http": _WEB,
    "https": _WEB | {"sni": _HOSTS, "verify": st.booleans()},
    "udp": {"port": _PORTS, "send": _BYTES, "expect": st.just(b"") | _BYTES},
    "dns": {"what": _HOSTS, "port": _PORTS, "record": st.sampled_from(RECORDS)},
    "exec": {"what": st.just("/usr/local/bin/a check,ed=one"), "port": _PORTS},
}


@st.composite
def checks(draw: st.DrawFn) -> Check:
    kind = draw(st.sampled_from(sorted(_OF_KIND)))
    fields = {name: draw(values) for name, values in _OF_KIND[kind].items()}
    timeout, every = sorted(draw(st.tuples(TIMES, TIMES)))
    fall, rise = draw(st.tuples(*[st.integers(1, MOST_TIMES)] * 2))
    return Check(kind, every=every, timeout=timeout, fall=fall, rise=rise, **fields)


CHECKS = st.lists(checks().filter(lambda check: check.port > 0), max_size=2).map(
    lambda found: tuple(sorted(set(found)))
)


AGENTS = st.builds(
    Agent, st.integers(1, 65535), TIMES, st.text(st.characters(max_codepoint=126, min_codepoint=32))
)


@st.composite
def services(draw: st.DrawFn, names: st.SearchStrategy[str], marks: int) -> Service:
    """A service with the fwmark `marks`; every other field is drawn."""
    forward = draw(st.sampled_from(Forward))
    ports = draw(PORTS)
    scheduler = draw(_schedulers(forward))
    return Service(
        name=draw(names),
        fwmark=marks,
        scheduler=scheduler,
        forward=forward,
        ports=ports,
        persistence=draw(PERSISTENCE.flatmap(lambda found: _engined(found, ports))),
        leftover=draw(st.sampled_from(Leftover)),
        ping=draw(st.booleans()),
        set_sysctls=draw(st.booleans()),
        reals=draw(reals(ports=forward is Forward.NAT)),
        checks=draw(CHECKS),
        check_via=draw(st.sampled_from([CheckVia.AUTO, CheckVia.RIP])),
        all_down=draw(st.sampled_from([AllDown.KEEP, AllDown.REFUSE])),
        slow_start=draw(st.integers(0, 3600)),
        dead_after=draw(st.integers(0, 86400)),
        agent=draw(st.none() | AGENTS),
        feedback=draw(
            st.sampled_from(Feedback) if scheduler.name in FED_BACK else st.just(Feedback.NO)
        ),
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
