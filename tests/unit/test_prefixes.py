"""Address-set arithmetic against Python's sets of single addresses."""

import ipaddress
import operator
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import WIDTH, WINDOWS, addresses, is_canonical, spans
from vipctl.addresses import prefixes
from vipctl.addresses.few import BITS, Span, cut, normalise
from vipctl.addresses.prefixes import AddressSet, from_spans
from vipctl.addresses.spans import Spans

Operation = Callable[[Spans, Spans], Spans]

windows = st.sampled_from(WINDOWS)
in_a_window = windows.flatmap(lambda w: st.tuples(st.just(w[0]), st.just(w[1]), spans(w[1])))
pairs = windows.flatmap(lambda w: st.tuples(st.just(w[0]), spans(w[1]), spans(w[1])))


def far_spans(version: int) -> st.SearchStrategy[tuple[int, Span]]:
    """Any span of all addresses there are, often with round or extreme ends."""
    bits = BITS[version]
    top = (1 << bits) - 1
    powers = st.integers(0, bits).map(lambda n: (1 << n) - 1)
    end = st.integers(0, top) | powers | powers.map(lambda n: min(n + 1, top))
    return st.tuples(end, end).map(lambda ends: (version, (min(ends), max(ends))))


everywhere = st.lists(st.sampled_from([4, 6]).flatmap(far_spans), max_size=6)


def networks(version: int, found: Iterable[int]) -> list[prefixes.IPNetwork]:
    """What the standard library makes of single addresses."""
    if version == 4:
        singles4 = [ipaddress.IPv4Network(value) for value in found]
        return list(ipaddress.collapse_addresses(singles4))
    singles6 = [ipaddress.IPv6Network(value) for value in found]
    return list(ipaddress.collapse_addresses(singles6))


def cut_of(wanted: AddressSet) -> list[prefixes.IPNetwork]:
    """Its prefixes as it prints them, read by the standard library."""
    return list(map(ipaddress.ip_network, wanted.prefixes()))


def summarised(wanted: AddressSet) -> Iterator[prefixes.IPNetwork]:
    """The prefixes of each span, as the standard library cuts them."""
    for first, last in wanted.v4:
        ends4 = ipaddress.IPv4Address(first), ipaddress.IPv4Address(last)
        yield from ipaddress.summarize_address_range(*ends4)
    for first, last in wanted.v6:
        ends6 = ipaddress.IPv6Address(first), ipaddress.IPv6Address(last)
        yield from ipaddress.summarize_address_range(*ends6)


@given(in_a_window)
def test_normalise_keeps_the_addresses_in_canonical_form(
    drawn: tuple[int, int, list[Span]],
) -> None:
    _, _, found = drawn
    joined = normalise(found)
    assert addresses(joined) == addresses(found)
    assert is_canonical(joined)
    assert normalise(reversed(joined)) == joined


@pytest.mark.parametrize(
    ("operation", "model"),
    [
        (operator.or_, set.union),
        (operator.sub, set.difference),
        (operator.and_, set.intersection),
    ],
    ids=["union", "difference", "intersection"],
)
@given(pair=pairs)
def test_arithmetic_is_that_of_sets(
    operation: Operation,
    model: Callable[[set[int], set[int]], set[int]],
    pair: tuple[int, list[Span], list[Span]],
) -> None:
    version, *both = pair
    left, right = (Spans.from_pairs(version, found) for found in both)
    result = operation(left, right)
    assert addresses(result) == model(addresses(left), addresses(right))
    assert is_canonical(result)


@given(in_a_window)
def test_prefixes_are_the_minimal_list(drawn: tuple[int, int, list[Span]]) -> None:
    version, _, found = drawn
    wanted = from_spans((version, span) for span in found)
    assert cut_of(wanted) == networks(version, addresses(found))


@given(everywhere)
def test_prefixes_of_any_size_are_those_of_the_standard_library(
    found: list[tuple[int, Span]],
) -> None:
    wanted = from_spans(found)
    networks = cut_of(wanted)
    assert networks == list(summarised(wanted))
    assert sum(network.num_addresses for network in networks) == wanted.size()
    assert len(networks) == wanted.count()
    assert is_canonical(wanted.v4)
    assert is_canonical(wanted.v6)


@given(everywhere, everywhere)
def test_union_and_difference_of_any_size_add_up(
    left: list[tuple[int, Span]], right: list[tuple[int, Span]]
) -> None:
    some, others, both = from_spans(left), from_spans(right), from_spans([*left, *right])
    for version in BITS:
        rest = some.spans(version) - others.spans(version)
        shared = some.spans(version) - rest
        assert is_canonical(rest)
        assert rest | shared == some.spans(version)
        assert shared - others.spans(version) == Spans(version)
        assert rest | others.spans(version) == both.spans(version)


@given(in_a_window)
def test_a_set_knows_its_addresses_and_their_number(drawn: tuple[int, int, list[Span]]) -> None:
    version, base, found = drawn
    wanted, model = from_spans((version, span) for span in found), addresses(found)
    assert wanted.size() == len(model)
    assert bool(wanted) == bool(model)
    end = (1 << BITS[version]) - 1
    for value in range(max(base - 1, 0), min(base + WIDTH, end) + 1):
        assert (prefixes.address(version, value) in wanted) == (value in model)


def test_an_address_is_not_the_one_of_the_other_version_with_its_number() -> None:
    assert ipaddress.IPv6Address(5) not in from_spans([(4, (0, 9))])
    assert ipaddress.IPv4Address(5) not in from_spans([(6, (0, 9))])


@given(everywhere)
def test_the_order_of_spans_does_not_matter(found: list[tuple[int, Span]]) -> None:
    assert from_spans(reversed(found)) == from_spans(found)


@pytest.mark.parametrize("version", BITS)
def test_everything_is_one_prefix(version: int) -> None:
    everything = from_spans([(version, (0, (1 << BITS[version]) - 1))])
    (prefix,) = cut_of(everything)
    assert prefix.prefixlen == 0
    assert everything.size() == 1 << BITS[version]


@pytest.mark.parametrize("version", BITS)
def test_the_worst_span_has_two_prefixes_for_each_bit_but_one(version: int) -> None:
    bits = BITS[version]
    assert len(list(cut(version, 1, (1 << bits) - 2))) == 2 * (bits - 1)
