"""Files that are read in blocks: the same as line by line, whatever is in them and wherever."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from tempfile import NamedTemporaryFile
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import PUBLIC
from vipctl.addresses import bulk
from vipctl.addresses.few import BITS
from vipctl.addresses.prefixes import AddressSet, from_spans, parse_range
from vipctl.errors import Refused, VipctlError
from vipctl.operate import rangelist

ALWAYS, NEVER = -1, 1 << 40
GOOD = [f"203.0.113.{n}" for n in range(200)]


@contextmanager
def blocks(many: int, size: int = 1 << 20) -> Iterator[None]:
    """Blocks of so many bytes, that are read as a whole if they have more lines than `many`."""
    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(rangelist, "NUMPY_FROM", many))
        patches.enter_context(mock.patch.object(rangelist, "BLOCK", size))
        yield


def read(content: bytes, many: int = ALWAYS, size: int = 1 << 20) -> AddressSet | str:
    """What is read, or what is said; the file is called `list` in that."""
    with NamedTemporaryFile(dir="/dev/shm") as file, blocks(many, size):
        file.write(content)
        file.flush()
        try:
            return rangelist.read([f"@{file.name}"])
        except VipctlError as e:
            return f"{type(e).__name__} {e.message.replace(file.name, 'list')} {e.hint}"


def address(version: int, value: int) -> str:
    return str(IPv4Address(value) if version == 4 else IPv6Address(value))


@st.composite
def ranges(draw: st.DrawFn, versions: tuple[int, ...]) -> str:
    version = draw(st.sampled_from(versions))
    host_bits = draw(st.integers(0, 12))
    start = PUBLIC[version] + (draw(st.integers(0, 255)) << host_bits)
    length = BITS[version] - host_bits
    start &= -1 << host_bits
    return f"{address(version, start)}/{length}" if host_bits else address(version, start)


plain = st.sampled_from([(4,), (6,), (4, 6)]).flatmap(
    lambda versions: st.lists(ranges(versions), min_size=1, max_size=30)
)
ODD = (
    *("", " ", "# a comment", "203.0.113.7 # one", "\t198.51.100.7  ", "192.0.2.1-192.0.2.9"),
    *("2001:DB8::A", "2001:db8::203.0.113.7", "203.0.113.7/32", "#" + 300 * "x"),
    *("203.0.113.0/024", "2001:db8::/064", "203.0.113.7/032"),
)
WRONG = (
    *("junk", "203.0.113.7/24", "127.0.0.1", "::/0", "0.0.0.0/0", "203.0.113.300", "ff02::1"),
    *("203.0.113.7/", "203.0.113.7/33", "203.0.113.7/+8", "/24", "203.0.113.0/ 24", "\0"),
    *("203.0.113.0/0024", "203.0.113.07", "224.0.0.0/3", "::ffff:1.2.3.4", "２03.0.113.7", "é"),
    *("0.0.0.0/1", "192.0.0.0/2", "255.255.255.255", "1" * 300, "::/1", "192.0.2.1\r192.0.2.2"),
)
odd, wrong = st.sampled_from(ODD), st.sampled_from(WRONG)
ends = st.sampled_from(["\n", "\r\n"])
sizes = st.sampled_from([1, 7, 16, 300, 1 << 20])


@given(plain, sizes, st.booleans())
def test_plain_ranges_are_those_of_their_lines(lines: list[str], size: int, newline: bool) -> None:
    content = ("\n".join(lines) + "\n" * newline).encode()
    found = read(content, ALWAYS, size)
    assert found == from_spans(map(parse_range, lines))


@given(plain, st.lists(odd, max_size=3), ends, sizes, st.data())
def test_other_lines_make_no_difference(
    lines: list[str], others: list[str], end: str, size: int, data: st.DataObject
) -> None:
    some = data.draw(st.permutations([*lines, *others]))
    content = (end.join(some) + end).encode()
    assert read(content, ALWAYS, size) == read(content, NEVER)
    assert isinstance(read(content), AddressSet)


@given(plain, st.lists(odd, max_size=2), st.lists(wrong, min_size=1, max_size=2), sizes, st.data())
def test_what_is_wrong_is_told_alike(
    lines: list[str], others: list[str], bad: list[str], size: int, data: st.DataObject
) -> None:
    some = data.draw(st.permutations([*lines, *others, *bad]))
    content = "\n".join(some).encode()
    said = read(content, NEVER)
    assert isinstance(said, str)
    assert read(content, ALWAYS, size) == said


@pytest.mark.parametrize("bad", WRONG)
def test_each_that_is_wrong_is_found_among_plain_ones(bad: str) -> None:
    good = [f"2001:db8::{n:x}" for n in range(9)] if ":" in bad else GOOD[:9]
    content = "\n".join([*good, bad, *good]).encode()
    said = read(content, 3)
    assert said == read(content, NEVER)
    assert "list:10: " in str(said)


@pytest.mark.parametrize("at", [0, 1, 57, 199])
@pytest.mark.parametrize("size", [64, 1000, 1 << 20])
def test_a_bad_line_in_a_block_has_its_number(at: int, size: int) -> None:
    lines = [*GOOD[:at], "203.0.113.300", *GOOD[at:]]
    said = read("\n".join(lines).encode(), 3, size)
    assert str(said).startswith(f"UsageError list:{at + 1}: '203.0.113.300'")


@pytest.mark.parametrize("bad", ["203.0.113.8/24", "127.0.0.1", "240.0.0.0/3"])
def test_what_can_be_no_vip_in_a_block_has_its_number(tmp_path: Path, bad: str) -> None:
    file = tmp_path / "list"
    file.write_text("\n".join([*GOOD[:150], bad, *GOOD[150:]]))
    with blocks(3), pytest.raises(Refused, match=f"list:151: {bad}") as caught:
        rangelist.read([f"@{file}"])
    assert caught.value.hint


def test_a_comment_longer_than_a_block_is_one_line() -> None:
    content = b"203.0.113.0\n# " + b"x" * 5000 + b" 192.0.2.0/24\n203.0.113.1\njunk\n"
    for size in (100, 1000, 5001):
        assert "list:4: 'junk'" in str(read(content, ALWAYS, size))
        assert read(content[:-5], ALWAYS, size) == from_spans([(4, (PUBLIC[4], PUBLIC[4] + 1))])


def test_a_plain_block_is_read_as_a_whole(tmp_path: Path) -> None:
    """All that is shown here is no more than that both ways agree, if it is not."""
    file = tmp_path / "list"
    file.write_text("\n".join(GOOD) + "\n")
    with blocks(3), mock.patch.object(bulk, "ranges", wraps=bulk.ranges) as whole:
        assert rangelist.read([f"@{file}"]).size() == len(GOOD)
        assert whole.call_count == 1
    with blocks(1000), mock.patch.object(bulk, "ranges", wraps=bulk.ranges) as whole:
        assert rangelist.read([f"@{file}"]).size() == len(GOOD)
        assert whole.call_count == 0


@given(plain, st.lists(wrong, max_size=2), st.data())
def test_ranges_of_a_document_too(lines: list[str], bad: list[str], data: st.DataObject) -> None:
    """With the position of what is wrong."""
    texts = [text.removesuffix("\n") for text in data.draw(st.permutations([*lines, *bad]))]
    results = []
    for many in (ALWAYS, NEVER):
        problems: list[tuple[int, str]] = []
        with blocks(many):
            found = rangelist.collect(texts, lambda at, e: problems.append((at, e.message)))  # noqa: B023
        results.append((found, problems))
    assert results[0] == results[1]
    assert [texts[at] in bad for at, _ in results[0][1]] == [True] * len(bad)


def test_mixed_versions_in_one_block() -> None:
    content = "\n".join(f"{v4}\n2001:db8::{n:x}" for n, v4 in enumerate(GOOD)).encode()
    found = read(content, 3)
    assert isinstance(found, AddressSet)
    assert (found.v4.size(), found.v6.size()) == (200, 200)
    assert read(content, NEVER) == found


def test_a_block_of_nothing_is_nothing() -> None:
    content = b"\n" * 500 + b"203.0.113.0\n" + b"\n" * 500
    assert read(content, 3, 300) == read(content, 3) == from_spans([(4, (PUBLIC[4], PUBLIC[4]))])
