"""Elements of nftables maps, packed by hand, on this kernel, as nft shows them."""

import json
import random
import socket
from collections.abc import Iterator

import pytest

from tests.harness.netns import Namespace
from vipctl.addresses.few import WIDTH
from vipctl.addresses.prefixes import AF
from vipctl.errors import KernelError
from vipctl.linux import netlink
from vipctl.linux.nftables import elements, tables, transactions
from vipctl.linux.nftables.elements import LONGEST, Edit, Map
from vipctl.linux.nftables.ruleset import map_name
from vipctl.linux.nftables.tables import Table
from vipctl.linux.nftables.transactions import Owned
from vipctl.services.batch import Batch
from vipctl.services.change import Acceptance, Shape
from vipctl.services.service import Service

MANY = 5_000  # of a mark: more than a message holds
MAPS = {version: Map(Owned("inet", "t"), f"m{version}", version) for version in WIDTH}
RULESET = """
table inet t {
    map m4 { type ipv4_addr : mark; }
    map m6 { type ipv6_addr : mark; }
}
"""
DICE = random.Random(7)
DRAWN = {width: sorted({DICE.randbytes(width) for _ in range(2 * MANY)}) for width in (4, 16)}


@pytest.fixture(scope="module")
def host() -> Iterator[Namespace]:
    found = Namespace.create("elements")
    yield found
    found.close()


@pytest.fixture(autouse=True)
def _empty(host: Namespace) -> Iterator[None]:
    """Maps without elements; the test is on the host."""
    host.run(["nft", "-f", "-"], input=f"flush ruleset\n{RULESET}")
    with host:
        yield


def addresses(version: int, mark: int, number: int = MANY) -> bytes:
    """Those of one mark are not those of another."""
    drawn = DRAWN[WIDTH[version]]
    return b"".join((drawn[:MANY] if mark % 2 else drawn[MANY:])[:number])


def single(version: int, packed: bytes) -> list[bytes]:
    width = WIDTH[version]
    return [packed[at : at + width] for at in range(0, len(packed), width)]


def there(version: int) -> dict[bytes, int]:
    """What `elements.read` says: each address once."""
    found = elements.read(MAPS[version])
    pairs = [(one, mark) for mark, packed in found.items() for one in single(version, packed)]
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def shown(host: Namespace, where: Map) -> dict[bytes, int]:
    """What nft says."""
    listed = host.run(["nft", "-j", "list", "map", *where.table, where.name]).stdout
    (found,) = (item["map"] for item in json.loads(listed)["nftables"] if "map" in item)
    return {
        socket.inet_pton(AF[where.version], key): int(str(value), 0)
        for key, value in found.get("elem", ())
    }


def wanted(version: int, *marks: int, number: int = MANY) -> dict[bytes, int]:
    return {one: m for m in marks for one in single(version, addresses(version, m, number))}


def send(edits: list[Edit]) -> None:
    """In one transaction."""
    transactions.send(elements.messages(edits))


def fill(version: int, *marks: int, number: int = MANY) -> None:
    added = tuple((mark, addresses(version, mark, number)) for mark in marks)
    send([Edit(MAPS[version], added=added)])


@pytest.mark.parametrize("number", [1, 2, MANY])
def test_what_is_sent_is_there(host: Namespace, number: int) -> None:
    """Of both IP versions, in one transaction."""
    edits = [
        Edit(MAPS[v], added=tuple((m, addresses(v, m, number)) for m in (17, 0xFFFFFFFE)))
        for v in WIDTH
    ]
    send(edits)
    for version in WIDTH:
        found = wanted(version, 17, 0xFFFFFFFE, number=number)
        assert len(found) == 2 * number
        assert there(version) == shown(host, MAPS[version]) == found


@pytest.mark.parametrize("version", WIDTH)
def test_another_mark_in_the_same_transaction(host: Namespace, version: int) -> None:
    fill(version, 17, 18)
    moved = addresses(version, 17)
    send([Edit(MAPS[version], moved, ((19, moved),))])
    found = dict.fromkeys(single(version, moved), 19) | wanted(version, 18)
    assert there(version) == shown(host, MAPS[version]) == found


@pytest.mark.parametrize("version", WIDTH)
def test_some_go_and_others_come(host: Namespace, version: int) -> None:
    fill(version, 17)
    send([Edit(MAPS[version], addresses(version, 17, MANY - 1), ((18, addresses(version, 18)),))])
    (left,) = single(version, addresses(version, 17))[MANY - 1 :]
    assert there(version) == shown(host, MAPS[version]) == {left: 17} | wanted(version, 18)


@pytest.mark.parametrize("number", [1, MANY])
def test_what_fails_changes_nothing(host: Namespace, number: int) -> None:
    """What is to go is not there: neither that map nor the other is changed."""
    fill(4, 17)
    fill(6, 17)
    before, listed = transactions.generation(), [there(4), there(6)]
    edits = [
        Edit(MAPS[6], addresses(6, 17), ((18, addresses(6, 18)),)),
        Edit(MAPS[4], addresses(4, 18, number), ((19, addresses(4, 18)),)),
    ]
    with pytest.raises(KernelError, match="No such file") as caught:
        send(edits)
    assert caught.value.hint
    assert [there(4), there(6)] == listed
    assert transactions.generation() == before


def test_hundreds_of_messages_that_fail_are_one_error() -> None:
    """None of which would fit into what is received, were they repeated in it."""
    absent = b"".join((0x0B000000 + 2 * n).to_bytes(4, "big") for n in range(400_000))
    with pytest.raises(KernelError, match="No such file"):
        send([Edit(MAPS[4], absent)])


def test_another_mark_for_what_is_there_is_refused() -> None:
    """It would have to be deleted first."""
    fill(4, 17, number=2)
    with pytest.raises(KernelError, match="exists"):
        send([Edit(MAPS[4], added=((18, addresses(4, 17, 2)),))])
    assert there(4) == wanted(4, 17, number=2)
    fill(4, 17, number=2)
    assert there(4) == wanted(4, 17, number=2)


def test_no_map() -> None:
    nowhere = MAPS[4]._replace(name="none")
    assert elements.read(nowhere) == {}
    with pytest.raises(KernelError, match="nftables"):
        send([Edit(nowhere, added=((17, b"\xcb\0\x71\7"),))])


def test_nothing_is_no_transaction() -> None:
    before = transactions.generation()
    send([])
    send([Edit(MAPS[4])])
    assert transactions.generation() == before
    send([Edit(MAPS[4], added=((17, b"\xcb\0\x71\7"),))])
    assert transactions.generation() != before


@pytest.mark.parametrize("size", [0, LONGEST, 7 * LONGEST, 100_000])
def test_parts_accept_all_that_stays(size: int) -> None:
    """Each is small; what is of both states is of each state on the way, with a mark of either."""
    first, second = (MAPS[4]._replace(name=name) for name in ("a", "b"))
    stay, other, come = (addresses(4, mark, 40) for mark in (17, 18, 19))
    edits = [
        Edit(first, stay + other, ((18, stay[:80]), (19, other[80:]))),
        Edit(second, b"", ((17, stay[80:]), (18, other[:80] + come))),
    ]
    there = {(first, one): 17 for one in single(4, stay + other)}
    wanted = {
        one: {17, mark} for e in edits for mark, packed in e.added for one in single(4, packed)
    }
    for part in elements.parts(edits, size):
        (packed,) = {part.removed, *(found for _, found in part.added)} - {b""}
        assert len(packed) // 4 <= max(size // LONGEST, 1)
        for one in single(4, part.removed):
            del there[part.where, one]
        there |= {(part.where, one): m for m, found in part.added for one in single(4, found)}
        accepted = {one for _, one in there}
        assert accepted >= {*single(4, stay + other)}
        assert all(mark in wanted.get(one, {17}) for (_, one), mark in there.items())
    assert there == {
        (e.where, one): mark for e in edits for mark, found in e.added for one in single(4, found)
    }


def test_rules_that_are_too_many_for_a_user_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "room", lambda _: 100)
    with pytest.raises(KernelError, match="at once") as caught:
        send([Edit(MAPS[4], added=((17, addresses(4, 17, 100)),))])
    assert "net.core.wmem_max" in str(caught.value.hint)


# a table of a method

TABLE = Table("vipctl_test", lambda _: {})
SHAPES = Shape(4, 0, 32), Shape(4, 0, 24), Shape(6, 1, 128)


def large() -> Batch:
    return {
        (SHAPES[0], 17): addresses(4, 17),
        (SHAPES[0], 18): addresses(4, 18),
        (SHAPES[1], 17): bytes([203, 0, 113, 0]),
        (SHAPES[2], 18): addresses(6, 18),
    }


@pytest.fixture
def accepted() -> Acceptance:
    """What a table has that was filled from nothing."""
    services = (Service("fwmark-17", 17), Service("fwmark-18", 18))
    return Acceptance(services, frozenset(SHAPES))


CHANGES = {
    "one less": "delete element inet vipctl_test {name} {{ {address} }}",
    "one more": "add element inet vipctl_test {name} {{ 192.0.2.1 : 0x11 }}",
    "another mark": "delete element inet vipctl_test {name} {{ {address} }}\n"
    "add element inet vipctl_test {name} {{ {address} : 0x12 }}",
    "none": "flush map inet vipctl_test {name}",
    "a map more": "add map inet vipctl_test other {{ type ipv4_addr : mark; }}",
    "no table": "delete table inet vipctl_test",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_table_holds_what_it_was_given(
    host: Namespace, accepted: Acceptance, change: str
) -> None:
    tables.commit(TABLE.replacing(accepted, large()))
    assert TABLE.holds(accepted, large())
    first = socket.inet_ntop(socket.AF_INET, single(4, addresses(4, 17))[0])
    commands = change.format(name=map_name(SHAPES[0]), address=first)
    host.run(["nft", "-f", "-"], input=commands)
    assert not TABLE.holds(accepted, large())
    tables.commit(TABLE.replacing(accepted, large()))
    assert TABLE.holds(accepted, large())


def test_a_table_that_is_changed_holds_the_difference(accepted: Acceptance) -> None:
    tables.commit(TABLE.replacing(accepted, large()))
    moved = {(SHAPES[2], 18): addresses(6, 18)}, {(SHAPES[2], 17): addresses(6, 18)}
    tables.commit(TABLE.changing(accepted, accepted, *moved))
    assert TABLE.holds(accepted, {**large(), (SHAPES[2], 18): b""} | moved[1])
    assert not TABLE.holds(accepted, large())
