"""Few prefixes that cover a set: against sets of addresses, and every prefix that could."""

import random
from itertools import accumulate, chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipctl.addresses import aggregates
from vipctl.addresses.aggregates import covering
from vipctl.addresses.few import BITS, cut
from vipctl.addresses.prefixes import from_spans, parse_range, texts
from vipctl.addresses.spans import Spans
from vipctl.errors import Refused

BASE = {4: 0x0A000000, 6: 0x20010DB8 << 96}


def spans(*ranges: str) -> Spans:
    found = from_spans(map(parse_range, ranges))
    return found.v4 or found.v6


def prefixes(found: Spans) -> list[tuple[int, int]]:
    return [part for span in found for part in cut(found.version, *span)]


@given(
    st.sampled_from([4, 6]),
    st.sets(st.integers(0, 4095) | st.integers(0, 40), min_size=1),
    st.integers(1, 30),
)
def test_covers_and_no_more_than_it_must(version: int, offsets: set[int], most: int) -> None:
    held = Spans.from_pairs(version, ((BASE[version] + n, BASE[version] + n) for n in offsets))
    found = covering(held, most)
    assert not held - found
    routes = prefixes(found)
    assert len(routes) <= most
    if len(prefixes(held)) <= most:
        assert found == held
    for start, length in routes:
        hosts = (1 << BITS[version] - length) - 1
        half = start | hosts >> 1
        assert any(held.holds(n) for n in range(start, half + 1))
        assert not hosts or any(held.holds(n) for n in range(half + 1, (start | hosts) + 1))


@given(st.sets(st.integers(0, 4095), min_size=1), st.integers(1, 30), st.integers(0, 30))
def test_more_routes_never_cover_more(offsets: set[int], most: int, more: int) -> None:
    held = Spans.from_pairs(4, ((BASE[4] + n, BASE[4] + n) for n in offsets))
    assert covering(held, most + more).size() <= covering(held, most).size()


@pytest.mark.parametrize(
    ("ranges", "most", "wanted"),
    [
        (["203.0.113.0/25", "203.0.113.128/25"], 1, ["203.0.113.0/24"]),
        (["203.0.113.1", "203.0.113.2"], 2, ["203.0.113.1/32", "203.0.113.2/32"]),
        (["203.0.113.1", "203.0.113.2"], 1, ["203.0.113.0/30"]),
        (["203.0.113.1-203.0.113.254", "198.51.100.7"], 2, ["198.51.100.7/32", "203.0.113.0/24"]),
        (["2001:db8::1", "2001:db8::ffff"], 1, ["2001:db8::/112"]),
    ],
)
def test_what_routers_are_told(ranges: list[str], most: int, wanted: list[str]) -> None:
    assert list(texts(covering(spans(*ranges), most))) == wanted


def test_never_wider_than_anybody_would_hold() -> None:
    with pytest.raises(Refused, match="1 routes do not cover the IPv4") as refused:
        covering(spans("10.0.0.1", "203.0.113.1"), 1)
    assert refused.value.hint == "allow more: --max-routes 2"
    with pytest.raises(Refused, match="by whole /32"):
        covering(spans("2001:db8::1", "2001:dba::1"), 1)


def scattered(version: int, number: int = 100_000, blocks: int = 40) -> tuple[Spans, list[str]]:
    """Single addresses out of /16 (IPv6: /64) that are not next to each other, and these."""
    bits, chance = 16 if version == 4 else 64, random.Random(18)
    starts = [BASE[version] + (2 * n << bits) for n in range(blocks)]
    ends = chain.from_iterable((s, s | (1 << bits) - 1) for s in starts)
    some = (chance.choice(starts) + chance.getrandbits(bits) for _ in range(number))
    held = Spans.from_pairs(version, ((n, n) for n in chain(ends, some)))
    whole = Spans.from_pairs(version, ((s, s | (1 << bits) - 1) for s in starts))
    return held, list(texts(whole))


@pytest.mark.parametrize("version", [4, 6])
def test_a_hundred_thousand_become_their_forty_blocks(version: int) -> None:
    held, wanted = scattered(version)
    assert list(texts(covering(held, len(wanted)))) == wanted


@pytest.mark.parametrize("version", [4, 6])
def test_numpy_and_python_agree(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    held, _ = scattered(version, 9_000)
    large = [held.widened(n) for n in (33, 60, 64, 65, 100) if n <= BITS[version]]
    large += [held.widened(n) for n in (8, 16, 17, 31)]
    monkeypatch.setattr("vipctl.addresses.spans.NUMPY_FROM", 1 << 40)
    small = [held.widened(n) for n in (33, 60, 64, 65, 100) if n <= BITS[version]]
    small += [held.widened(n) for n in (8, 16, 17, 31)]
    assert large == small


def test_fewer_blocks_the_wider_they_are() -> None:
    """What the search for the longest length relies on."""
    held, _ = scattered(4, 2_000)
    counts = [aggregates._count(held.widened(length)) for length in range(8, 33)]
    assert counts == list(accumulate(counts, max))
