"""Members of ipsets, packed by hand, on this kernel, as ipset shows them."""

import random
import re
from collections.abc import Iterator

import pytest

from tests.harness.ipsets import members as shown
from tests.harness.netns import Namespace
from vipctl.addresses.few import BITS, WIDTH
from vipctl.addresses.prefixes import text
from vipctl.errors import KernelError
from vipctl.linux.iptables import ipset, members

MANY = 5_000  # more than a message holds
LENGTHS = [(4, 32), (4, 24), (4, 1), (6, 128), (6, 64), (6, 1)]
DICE = random.Random(7)


@pytest.fixture(autouse=True)
def host() -> Iterator[Namespace]:
    """A host with a set of either IP version; the test is on it."""
    found = Namespace.create("members")
    with found:
        ipset.restore(ipset.create(f"v{version}", version) for version in WIDTH)
        yield found
    found.close()


def drawn(version: int, length: int, number: int = MANY) -> list[bytes]:
    """Packed network addresses; none is 0.0.0.0, which ipset has no member for."""
    bits = BITS[version] - length
    least = min(number, (1 << length) - 1)
    values: set[int] = set()
    while len(values) < least:
        values.add(DICE.randrange(1, 1 << length))
    return [(value << bits).to_bytes(WIDTH[version], "big") for value in sorted(values)]


def words(version: int, length: int, packed: bytes) -> str:
    start = text(version, int.from_bytes(packed, "big"))
    return start if length == BITS[version] else f"{start}/{length}"


def saved(host: Namespace, name: str) -> set[str]:
    return {
        line
        for line in host.run(["ipset", "save", name]).stdout.splitlines()
        if line.startswith("add ")
    }


@pytest.mark.parametrize(("version", "length"), LENGTHS)
def test_what_is_added_is_there(host: Namespace, version: int, length: int) -> None:
    some = drawn(version, length)
    members.add(f"v{version}", version, length, 0x11, b"".join(some))
    prefixes = [words(version, length, packed) for packed in some]
    assert shown(f"v{version}") == dict.fromkeys(prefixes, 0x11)
    assert saved(host, f"v{version}") == {f"add v{version} {p} skbmark 0x11" for p in prefixes}
    kept, gone = some[::3], b"".join(packed for at, packed in enumerate(some) if at % 3)
    members.delete(f"v{version}", version, length, gone)
    assert shown(f"v{version}") == dict.fromkeys(
        (words(version, length, packed) for packed in kept), 0x11
    )


@pytest.mark.parametrize(("version", "length"), LENGTHS)
def test_members_are_as_ipset_itself_adds_them(version: int, length: int) -> None:
    """One that comes by either way is deleted by the other, and has the same mark."""
    some, name = drawn(version, length, 50), f"v{version}"
    prefixes = [words(version, length, packed) for packed in some]
    members.add(name, version, length, 0xFFFFFFFE, b"".join(some))
    by_hand = shown(name)
    ipset.restore(ipset.delete(name, prefix) for prefix in prefixes)
    assert shown(name) == {}
    ipset.restore(ipset.add(name, prefix, 0xFFFFFFFE) for prefix in prefixes)
    assert shown(name) == by_hand
    members.delete(name, version, length, b"".join(some))
    assert shown(name) == {}


def test_the_mark_that_came_last_is_the_one() -> None:
    some = drawn(4, 32)
    members.add("v4", 4, 32, 17, b"".join(some))
    members.add("v4", 4, 32, 18, b"".join(some[:2000]))
    found = shown("v4")
    assert found == {words(4, 32, p): 18 if at < 2000 else 17 for at, p in enumerate(some)}


@pytest.mark.parametrize("number", [20_000, 65_536, 1_000_000])
def test_a_bucket_has_two_members_at_most_on_average(number: int) -> None:
    """With four, some of a million had more than the kernel's twelve, and the set grew."""
    found = re.search(r"hashsize (\d+)", ipset.create("roomy", 4, number))
    assert found is not None
    assert number / 2 <= int(found[1]) <= number


def test_what_is_gone_is_no_error() -> None:
    some = drawn(6, 64)
    members.add("v6", 6, 64, 17, b"".join(some[:10]))
    members.delete("v6", 6, 64, b"".join(some[5:]))
    assert shown("v6") == {words(6, 64, packed): 17 for packed in some[:5]}


def test_nothing_is_nothing() -> None:
    members.add("v4", 4, 32, 17, b"")
    members.delete("v4", 4, 32, b"")
    assert shown("v4") == {}


def test_a_full_set_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipset, "MAX_ELEMENTS", 64)
    ipset.restore([ipset.create("small", 4)])
    with pytest.raises(KernelError) as caught:
        members.add("small", 4, 32, 17, b"".join(drawn(4, 32)))
    assert "small" in caught.value.message
    assert "full" in caught.value.message
    assert caught.value.hint


def test_no_set_says_so() -> None:
    with pytest.raises(KernelError, match="none: ") as caught:
        members.add("none", 4, 32, 17, b"\xcb\0\x71\7")
    assert caught.value.hint


@pytest.mark.parametrize(("version", "length"), LENGTHS)
def test_a_member_is_present_until_it_goes(version: int, length: int) -> None:
    name, (one, *_) = f"v{version}", drawn(version, length, 2)
    assert not members.present(name, version, length, one)
    members.add(name, version, length, 17, one)
    assert members.present(name, version, length, one)
    members.delete(name, version, length, one)
    assert not members.present(name, version, length, one)


def test_only_that_very_prefix_is_present() -> None:
    members.add("v4", 4, 24, 17, bytes([203, 0, 113, 0]))
    for length in (23, 25):
        assert not members.present("v4", 4, length, bytes([203, 0, 113, 0]))
    assert members.present("v4", 4, 32, bytes([203, 0, 113, 9]))  # it is found, as a packet's is


def test_nothing_is_present_where_there_is_no_set() -> None:
    assert not members.present("none", 4, 24, bytes([203, 0, 113, 0]))


@pytest.mark.parametrize(("version", "length"), LENGTHS)
def test_what_is_read_is_what_was_added(version: int, length: int) -> None:
    name, some = f"v{version}", drawn(version, length)
    members.add(name, version, length, 17, b"".join(some[::2]))
    members.add(name, version, length, 0xFFFFFFFE, b"".join(some[1::2]))
    for other in (length - 1, length - 2):
        ipset.restore([ipset.keep_length(name, version, other)] * (other > 0))
    found = members.read(name, version)
    wanted = {(length, 17): some[::2], (length, 0xFFFFFFFE): some[1::2]}
    assert found.keys() == {key for key, addresses in wanted.items() if addresses}
    for key, addresses in found.items():
        assert sorted(wanted[key]) == sorted(
            addresses[at : at + WIDTH[version]] for at in range(0, len(addresses), WIDTH[version])
        )


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ("skbmark 0x11", (24, 17)),
        ("skbmark 0x11/0xffff", (-1, -1)),
        ("skbmark 0x11 skbprio 1:1", (-1, -1)),
        ("skbmark 0x11 skbqueue 2", (-1, -1)),
        ("nomatch", (-1, -1)),
        ("", (24, 0)),
    ],
)
def test_what_others_add_is_told_apart(host: Namespace, options: str, key: tuple[int, int]) -> None:
    host.run(["ipset", "add", "v4", "203.0.113.0/24", *options.split()])
    assert members.read("v4", 4) == {key: bytes([203, 0, 113, 0])}


def test_of_a_set_with_nothing_and_of_none_nothing_is_read() -> None:
    assert members.read("v4", 4) == {}
    assert members.read("none", 4) == {}
