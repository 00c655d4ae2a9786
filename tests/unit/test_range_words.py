"""RANGE words: what is read, what is refused, and what the operator is told."""

import ipaddress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.strategies import PUBLIC
from vipctl.addresses.few import BITS, Span
from vipctl.addresses.prefixes import network, parse_address, parse_range, span_text
from vipctl.errors import Refused, UsageError, VipctlError


def span(first: str, last: str) -> Span:
    return int(ipaddress.ip_address(first)), int(ipaddress.ip_address(last))


@pytest.mark.parametrize(
    ("text", "version", "first", "last"),
    [
        ("203.0.113.7", 4, "203.0.113.7", "203.0.113.7"),
        ("203.0.113.7/32", 4, "203.0.113.7", "203.0.113.7"),
        ("203.0.113.0/24", 4, "203.0.113.0", "203.0.113.255"),
        ("203.0.113.10-203.0.113.99", 4, "203.0.113.10", "203.0.113.99"),
        ("203.0.113.10 - 203.0.113.99", 4, "203.0.113.10", "203.0.113.99"),
        ("1.0.0.0/8", 4, "1.0.0.0", "1.255.255.255"),
        ("223.255.255.255", 4, "223.255.255.255", "223.255.255.255"),
        ("2001:db8::/64", 6, "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"),
        ("2001:DB8::A", 6, "2001:db8::a", "2001:db8::a"),
        ("2001:db8::203.0.113.7", 6, "2001:db8::cb00:7107", "2001:db8::cb00:7107"),
        ("2001:db8::1-2001:db8::2", 6, "2001:db8::1", "2001:db8::2"),
        ("::2", 6, "::2", "::2"),
        ("fe7f:ffff::", 6, "fe7f:ffff::", "fe7f:ffff::"),
    ],
)
def test_reads(text: str, version: int, first: str, last: str) -> None:
    assert parse_range(text) == (version, span(first, last))


@st.composite
def allowed(draw: st.DrawFn) -> tuple[int, Span]:
    """A span in which VIPs can be, of any size up to 2^20 addresses."""
    version = draw(st.sampled_from([4, 6]))
    first = PUBLIC[version] + draw(st.integers(0, 1 << 12))
    return version, (first, first + draw(st.integers(0, 1 << 20)))


@given(allowed())
def test_what_is_written_is_read_back(wanted: tuple[int, Span]) -> None:
    assert parse_range(span_text(*wanted)) == wanted


@pytest.mark.parametrize(
    "text",
    ["203.0.113.7", "203.0.113.0/24", "203.0.113.10-203.0.113.99", "2001:db8::/64", "::2-::5"],
)
def test_a_span_is_written_as_it_would_be_typed(text: str) -> None:
    assert span_text(*parse_range(text)) == text


@given(st.sampled_from([4, 6]), st.data())
def test_host_bits_are_refused_with_the_right_prefix(version: int, data: st.DataObject) -> None:
    bits = BITS[version]
    length = data.draw(st.integers(1, bits - 1))
    value = PUBLIC[version] + data.draw(st.integers(0, 1 << 28))
    right = network(version, value >> (bits - length) << (bits - length), length)
    assume(int(right.network_address) != value)
    text = f"{ipaddress.ip_address(value)}/{length}"
    with pytest.raises(Refused) as caught:
        parse_range(text)
    assert text in caught.value.message
    assert str(right) in (caught.value.hint or "").split(",")[0]


def test_a_suggested_prefix_is_never_every_address() -> None:
    with pytest.raises(VipctlError) as caught:
        parse_range("203.0.113.7/0")
    assert "0.0.0.0/0" not in (caught.value.hint or "")


ILL_FORMED = [
    *(
        "",
        " ",
        "x",
        "web",
        "203.0.113",
        "203.0.113.256",
        "203.0.113.07",
        "0x7f000001",
        "3405803783",
    ),
    *("203.0.113.7.", "203.0.113.7 203.0.113.8", "203.0.113.7\0", "203.0.113.7:80", "２03.0.113.7"),
    *("[2001:db8::1]", "2001:db8::1%eth0", "2001:db8:::1", "2001:db8::g", "1:2:3:4:5:6:7:8:9"),
    *("203.0.113.0/", "203.0.113.0/33", "203.0.113.0/-1", "203.0.113.0/x", "203.0.113.0/２4"),
    *("203.0.113.0/255.255.255.0", "203.0.113.0/24/24", "203.0.113.0/024 ", "203.0.113.0/0000024"),
    *("2001:db8::/129", "2001:db8::/", "/24", "/", "203.0.113.9-", "-203.0.113.9", "-"),
    *("203.0.113.9-203.0.113.1", "2001:db8::2-2001:db8::1", "203.0.113.1-2001:db8::1"),
    *("203.0.113.1-99", "203.0.113.1-203.0.113.2-203.0.113.3", "\udcff", "203.0.113.7\n"),
]


@pytest.mark.parametrize("text", ILL_FORMED)
def test_what_is_no_range_is_a_usage_error_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_range(text)
    assert caught.value.hint


@pytest.mark.parametrize("text", [t for t in ILL_FORMED if t.isascii() and t.isprintable()])
def test_the_message_quotes_the_item(text: str) -> None:
    """The whole of it, or the part that is wrong: an empty quotation tells nobody anything."""
    with pytest.raises(UsageError) as caught:
        parse_range(text)
    quoted = caught.value.message.split("'")[1]
    assert quoted in text
    assert quoted or not text


RESERVED = {
    "loopback": ("127.0.0.1", "127.0.0.0/8", "126.255.255.255-127.0.0.0", "::1"),
    "multicast": ("224.0.0.1", "239.255.255.255", "ff02::1", "ff00::/8", "192.0.0.0/2"),
    "link-local": ("169.254.0.0/16", "169.254.169.254", "fe80::1", "febf::-fec0::"),
    "this network": ("0.0.0.0", "0.0.0.1", "0.0.0.0/1"),
    "unspecified": ("::", "::/127", "::-::5"),
    "IPv4-mapped": ("::ffff:203.0.113.7", "::fffe:ffff:ffff-::ffff:0:0"),
    "broadcast": ("255.255.255.255", "255.255.255.0/24"),
    "every address there is": ("0.0.0.0/0", "::/0", "0.0.0.0-255.255.255.255"),
}


@pytest.mark.parametrize(("what", "text"), [(w, t) for w, texts in RESERVED.items() for t in texts])
def test_what_can_never_be_a_vip_is_refused_by_its_name(what: str, text: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_range(text)
    assert what in caught.value.message
    assert text in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        *("1.0.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "240.0.0.1"),
        *("223.255.255.255", "255.255.255.254", "::2", "fe7f:ffff::", "fec0::", "feff:ffff::"),
        *("::fffe:ffff:ffff", "::1:0:0:0"),
    ],
)
def test_the_neighbours_of_what_is_refused_are_allowed(text: str) -> None:
    assert parse_range(text)[1] == span(text, text)


@given(st.text(alphabet="0123456789abcdef.:/-[]% x", max_size=24))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        version, (first, last) = parse_range(text)
    except (UsageError, Refused) as refusal:
        hint = refusal.hint
    else:
        hint = "none needed"
        assert 0 < first <= last < 1 << BITS[version]
    assert hint


@pytest.mark.parametrize("text", ["203.0.113.0/24", "203.0.113.1-203.0.113.9", "2001:db8::/64"])
def test_who_names_a_range_where_an_address_is_meant_is_told_so(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_address(text)
    assert "name one address" in str(refusal.value.hint)
