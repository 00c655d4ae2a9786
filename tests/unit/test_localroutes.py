"""Local routes by the thousand, on this kernel, in a namespace of their own."""

import random
from collections.abc import Iterable, Iterator

import pytest

from tests.harness.netns import Namespace
from vipctl.addresses.prefixes import network
from vipctl.errors import KernelError
from vipctl.linux.routing import localroutes
from vipctl.linux.routing.localroutes import Routes
from vipctl.services import batch
from vipctl.services.change import Entry, Shape

MANY = 100_000


def prefix(version: int, start: int, length: int) -> Entry:
    return Entry(Shape(version, 0, length), start, 0)


def packed(prefixes: Iterable[Entry]) -> Routes:
    return batch.by_shape(batch.of_entries(prefixes))


def there() -> set[Entry]:
    """What the kernel has of ours, none of it twice."""
    found = _entries(localroutes.read())
    assert len(found) == len(set(found))
    return set(found)


def _entries(routes: Routes) -> list[Entry]:
    return list(batch.entries({(shape, 0): addresses for shape, addresses in routes.items()}))


def network_of(prefix: Entry) -> str:
    return str(network(prefix.shape.version, prefix.start, prefix.shape.length))


def lengths(version: int, top: int) -> list[Entry]:
    """A prefix of each length; `top` is their first byte."""
    bits = 32 if version == 4 else 128
    return [
        prefix(
            version,
            (top << bits - 8) + ((1 << length) - 1 << bits - length) % (1 << bits - 8),
            length,
        )
        for length in range(8, bits + 1)
    ]


SCATTERED = sorted(random.Random(7).sample(range(16 << 24, 96 << 24, 2), MANY))
V4 = [prefix(4, start, 32) for start in SCATTERED]
SOME = [prefix(4, 0xCB007100, 24), prefix(4, 0xC6336407, 32), prefix(6, 0x20010DB8 << 96, 64)]


@pytest.fixture
def host() -> Iterator[Namespace]:
    """A new one each: the kernel keeps table local in main until the first rule is added."""
    found = Namespace.create("routes")
    with found:
        yield found
    found.close()


def listed(host: Namespace) -> str:
    return host.run(["sh", "-c", "ip -4 route show table all; ip -6 route show table all"]).stdout


@pytest.mark.usefixtures("host")
def test_a_hundred_thousand() -> None:
    v6 = [prefix(6, (0x2001 << 112) + (start << 64), 64) for start in SCATTERED[: MANY // 10]]
    localroutes.add(packed(V4 + v6))
    assert there() == {*V4, *v6}
    assert localroutes.present(V4[0])
    assert localroutes.present(v6[-1])
    localroutes.delete(packed(V4[1:] + v6[:-1]))
    assert there() == {V4[0], v6[-1]}
    localroutes.delete(packed([V4[0], v6[-1]]))
    assert there() == set()


def test_every_length(host: Namespace) -> None:
    before = listed(host)
    wanted = [*lengths(4, 16), *lengths(6, 0x20)]
    localroutes.add(packed(wanted))
    assert there() == set(wanted)
    assert all(map(localroutes.present, wanted))
    lines = [line for line in listed(host).splitlines() if "proto 118" in line]
    assert len(lines) == len(wanted)
    for line in lines:
        assert line.startswith("local ")
        assert " dev lo table local proto 118 " in line
        assert " metric 30320" in line
    localroutes.delete(packed(wanted))
    assert listed(host) == before


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 20])
def test_chunks_end_where_they_end(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(localroutes, "CHUNK", 10)
    wanted = V4[:size]
    localroutes.add(packed(wanted))
    assert there() == set(wanted)
    localroutes.delete(packed(wanted))
    assert there() == set()


def test_each_plane_has_routes_of_its_own(host: Namespace) -> None:
    """What one loses others keep; the lowest comes first."""
    planes = [
        [entry._replace(shape=entry.shape._replace(plane=n)) for entry in SOME] for n in (0, 2)
    ]
    localroutes.add(packed([*planes[1], *planes[0]]))
    assert there() == {*planes[0], *planes[1]}
    assert listed(host).count(" metric 30320") == listed(host).count(" metric 30322") == len(SOME)
    localroutes.delete(packed(planes[0]))
    assert there() == set(planes[1])
    some, others = packed([*planes[0], *planes[1]]), packed(planes[1])
    assert set(_entries(localroutes.without(some, others))) == set(planes[0])
    assert localroutes.are(others, localroutes.read())
    assert not localroutes.are(some, localroutes.read())
    assert not localroutes.are(localroutes.read(), packed(planes[1][1:]))


def test_what_is_there_stays_as_it_is(host: Namespace) -> None:
    localroutes.add(packed(SOME))
    before = listed(host)
    localroutes.add(packed(SOME))
    assert listed(host) == before
    localroutes.add(packed([*SOME, V4[0]]))
    assert there() == {*SOME, V4[0]}


@pytest.mark.usefixtures("host")
def test_what_is_gone_is_no_error() -> None:
    """However much of it; what is there among it goes."""
    localroutes.delete(packed(SOME))
    localroutes.add(packed([V4[0], V4[15_000], V4[-1], SOME[2]]))
    localroutes.delete(packed([*V4[:30_000], *SOME, *V4[-30_000:]]))
    assert there() == set()


@pytest.mark.usefixtures("host")
def test_presence_is_of_a_prefix_not_of_an_address() -> None:
    localroutes.add(packed(SOME))
    assert all(map(localroutes.present, SOME))
    assert not localroutes.present(prefix(4, 0xCB007100, 25)), "a shorter one covers it"
    assert not localroutes.present(prefix(4, 0xCB007000, 23))
    assert not localroutes.present(prefix(4, 0xC0000201, 32))
    assert not localroutes.present(prefix(6, 0x20010DB8 << 96, 63))
    assert not localroutes.present(prefix(6, 0x20010DB9 << 96, 64))


def test_presence_with_rules_and_without(host: Namespace) -> None:
    """The first rule makes the kernel part table local from table main."""
    localroutes.add(packed(SOME))
    assert all(map(localroutes.present, SOME))
    host.ip("rule add pref 20000 fwmark 99 lookup 99")
    assert all(map(localroutes.present, SOME))
    assert there() == set(SOME)
    host.ip("rule del pref 20000")
    assert all(map(localroutes.present, SOME))


# what fails


def test_an_error_names_the_prefix_that_failed(host: Namespace) -> None:
    """The first that does, wherever in a chunk it is."""
    host.sysctl("net.ipv6.conf.lo.disable_ipv6", 1)
    v6 = [prefix(6, (0x20010DB8 << 96) + (number << 64), 64) for number in (0, 1)]
    for wanted in ([*V4[:50], *v6, *V4[50:90]], [*v6, V4[0]], [*V4[:10_000], *v6]):
        with pytest.raises(KernelError, match=network_of(v6[0])) as caught:
            localroutes.add(packed(wanted))
        assert caught.value.hint


def test_many_errors_are_one(host: Namespace) -> None:
    """The kernel says no to each; the first is what the operator reads."""
    host.ip("link set lo down")
    v6 = [prefix(6, (0x2001 << 112) + (start << 64), 64) for start in SCATTERED[:20_000]]
    with pytest.raises(KernelError, match=network_of(v6[0])) as caught:
        localroutes.add(packed(v6))
    assert "Network is down" in caught.value.message
    assert there() == set()


# whose they are

FOREIGN = (
    "route add local 203.0.113.0/24 dev lo proto static",
    "route add local 203.0.113.0/24 dev lo metric 30319 proto 118",
    "route add local 198.51.100.7 dev lo proto kernel",
    "route add local 198.18.0.0/15 dev lo proto 118",
    "route add local 192.0.2.0/24 dev lo metric 30320 proto 118 table 99",
    "route add blackhole 192.0.2.0/24 metric 30320 proto 118",
    "-6 route add local 2001:db8::/64 dev lo proto static metric 30319",
    "-6 route add local 2001:db8:9::/48 dev lo proto 118",
)


def test_only_ours_are_read_and_deleted(host: Namespace) -> None:
    for command in FOREIGN:
        host.run(["ip", *command.split()])
    before = listed(host)
    assert there() == set()
    localroutes.add(packed(SOME))
    assert there() == set(SOME)
    localroutes.delete(packed([*SOME, prefix(4, 0xC6120000, 15), prefix(4, 0xC0000200, 24)]))
    assert listed(host) == before


def test_an_address_that_is_the_directors_own_stays_so(host: Namespace) -> None:
    host.ip("addr add 192.0.2.1/24 dev lo")
    before = listed(host)
    own = prefix(4, 0xC0000201, 32)
    localroutes.add(packed([own]))
    assert localroutes.present(own)
    assert "proto kernel" in host.run(["ip", "route", "get", "fibmatch", "192.0.2.1"]).stdout
    localroutes.delete(packed([own]))
    assert listed(host) == before
