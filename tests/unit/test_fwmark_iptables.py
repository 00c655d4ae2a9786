"""The `fwmark-iptables` method's rules are what iptables-legacy shows, and read back as drawn."""

import re
import subprocess
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.ipsets import members as shown
from tests.harness.netns import Namespace
from vipctl.errors import KernelError, Missing
from vipctl.linux.iptables import ipset, legacy, ruleset
from vipctl.methods import fwmark_iptables
from vipctl.services import batch
from vipctl.services.change import Acceptance, Entry, Shape
from vipctl.services.real import RealServer
from vipctl.services.seal import ABSENT
from vipctl.services.service import Service
from vipctl.services.values import Leftover, Port

RIP = RealServer(ip_address("10.0.1.11"))
BOTH = RIP, RealServer(ip_address("fd00:1::11"))
HTTP, HTTPS, DNS = Port("tcp", 80), Port("tcp", 443), Port("udp", 53)

WEB = Service("web", 0x1000, reals=BOTH)
ACCEPTED = Service("fwmark-17", 17)
PORTED = Service("ported", 0x1001, reals=BOTH, ports=(HTTP, HTTPS))
NAMES = Service("dns", 0x1002, reals=BOTH, ports=(DNS,))
PINGED = Service("pinged", 0x1003, reals=BOTH, ping=True)
QUIET = Service("quiet", 0x1004, reals=BOTH, leftover=Leftover.DROP)
IPV4_ONLY = Service("ipv4-only", 0x1005, reals=(RIP,))
IDLE = Service("idle", 0x1006)
MANY = Service("fwmark-9", 9, ports=tuple(Port("tcp", number) for number in range(1, 20)))
SHAPES = Shape(4, 0, 24), Shape(6, 0, 64)
PLANES = *SHAPES, Shape(4, 1, 25), Shape(6, 2, 128)


def acceptance(*services: Service, shapes: tuple[Shape, ...] = SHAPES) -> Acceptance:
    return Acceptance(services, frozenset(shapes))


CASES = {
    "nothing": Acceptance((), frozenset()),
    "one-service": acceptance(WEB),
    "one-version": acceptance(ACCEPTED, shapes=SHAPES[:1]),
    "ports": acceptance(WEB, PORTED),
    "many-ports": acceptance(MANY),
    "planes": acceptance(PORTED, NAMES, shapes=PLANES),
    "ping": acceptance(WEB, PINGED),
    "drop": acceptance(WEB, QUIET),
    "idle-family": acceptance(WEB, IPV4_ONLY),
    "passive-services": acceptance(PORTED, NAMES, PINGED, shapes=PLANES)._replace(
        passive=frozenset({NAMES.fwmark, PINGED.fwmark})
    ),
    "passive": acceptance(WEB, PORTED, PINGED)._replace(all_passive=True),
    "everything": acceptance(
        *(WEB, ACCEPTED, PORTED, NAMES, PINGED, QUIET, IPV4_ONLY, IDLE, MANY), shapes=PLANES
    ),
}


@pytest.fixture(scope="module")
def host() -> Iterator[Namespace]:
    """A host with a set of every name that rules look into."""
    namespace = Namespace.create("iptables")
    lines = [
        ipset.create(f"vipctl{version}{plane}", version)
        for version in (4, 6)
        for plane in ("", "_p1", "_p2")
    ]
    with namespace:
        ipset.restore(lines)
        yield namespace
    namespace.close()


@pytest.mark.parametrize("name", CASES)
def test_rules_are_in_the_kernel_as_drawn(host: Namespace, name: str) -> None:
    found = CASES[name]
    wanted = ruleset.tables(found)
    fwmark_iptables._enforce(found)
    assert fwmark_iptables._read() == wanted
    for version, table in [(v, t) for v in (4, 6) for t in ("mangle", "nat", "filter")]:
        assert _shown(host, version, table) == _lines(wanted.get((version, table), {}))


def _lines(chains: legacy.Chains) -> set[str]:
    return {f"{chain} {rule}" for chain, rules in chains.items() for rule in rules}


def _shown(host: Namespace, version: int, table: str) -> set[str]:
    tool = {4: "iptables-legacy-save", 6: "ip6tables-legacy-save"}[version]
    if table not in legacy.registered(version):
        return set()
    text = host.run([tool, "-t", table]).stdout.replace("-p ipv6-icmp ", "-p icmpv6 ")
    return {line.removeprefix("-A ") for line in text.splitlines() if line.startswith("-A")}


@pytest.mark.usefixtures("host")
def test_what_is_as_wanted_is_left_alone() -> None:
    """A rule that is put in anew has counters of 0."""
    fwmark_iptables._enforce(CASES["everything"])
    before = _counted_rule()
    fwmark_iptables._enforce(CASES["everything"])
    assert _counted_rule() == before == "[7:700]"


def _counted_rule() -> str:
    """Set the first rule's counters if they are 0; return them."""
    save = ["iptables-legacy-save", "-c", "-t", "mangle"]
    text = subprocess.run(save, capture_output=True, text=True, check=True).stdout
    (line,) = re.findall(r"^\[.*-A VIPCTL -m ttl.*$", text, re.MULTILINE)
    if not line.startswith("[0:0]"):
        return str(line.split()[0])
    text = text.replace(line, line.replace("[0:0]", "[7:700]"))
    subprocess.run(["iptables-legacy-restore", "-w", "-c"], input=text, text=True, check=True)
    return "[7:700]"


def test_only_ping_needs_the_nat_table() -> None:
    assert {table for _, table in ruleset.tables(CASES["ping"])} >= {"nat"}
    assert {table for _, table in ruleset.tables(CASES["planes"])} == {"mangle", "filter"}


def test_nothing_is_dropped_in_nat() -> None:
    for found in CASES.values():
        for (_, table), chains in ruleset.tables(found).items():
            assert table != "nat" or not any("DROP" in line for line in _lines(chains))


def test_one_ip_version_leaves_the_other_alone() -> None:
    only6 = acceptance(WEB, shapes=(Shape(6, 0, 64),))
    assert {version for version, _ in ruleset.tables(only6)} == {6}


def test_idle_services_are_refused_whatever_the_port() -> None:
    idle = Service("idle", 0x1006, ports=(Port("tcp", 80),))
    check = ruleset.tables(acceptance(idle))[4, "filter"]["VIPCTL-CHECK"]
    assert check[0] == "-m mark --mark 0x1006 -j VIPCTL-REFUSE"
    assert not any("multiport" in rule for rule in check)


def test_while_services_change_both_are_served() -> None:
    before, after = acceptance(IDLE, WEB), acceptance(WEB, MANY)
    both = fwmark_iptables._together(before, after)
    assert set(both.services) == {IDLE, WEB, MANY}
    louder = Service("web", WEB.fwmark, leftover=Leftover.DROP)
    assert fwmark_iptables._together(acceptance(WEB), acceptance(louder)).services == (louder,)


V4, HALF = Shape(4, 0, 24), Shape(4, 0, 25)


def test_additions_come_first_and_what_is_replaced_is_not_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, said = 0xCB007100, list[str]()
    removed = batch.of_entries([Entry(V4, start, 17), Entry(HALF, start, 17)])
    added = batch.of_entries([Entry(HALF, start, 18), Entry(HALF, start + 128, 18)])
    before, after = (
        acceptance(Service(f"fwmark-{mark}", mark), shapes=(V4, HALF)) for mark in (17, 18)
    )
    with Namespace.create("additions") as fresh:
        fwmark_iptables.load(before, removed)
        monkeypatch.setattr(ipset, "restore", said.extend)
        fwmark_iptables.apply(before, after, removed, added)
    fresh.close()
    assert said == [
        "add vipctl4 203.0.113.0/25 skbmark 0x12/0xffffffff\n",
        "add vipctl4 203.0.113.128/25 skbmark 0x12/0xffffffff\n",
        "del vipctl4 203.0.113.0/24\n",
    ]


@given(st.integers(1, 128), st.integers(0, 2**128 - 1))
def test_prefixes_are_of_the_same_address(length: int, bits: int) -> None:
    start = bits >> (128 - length) << (128 - length)
    text = fwmark_iptables._prefix(Entry(Shape(6, 0, length), start, 17))
    assert ip_network(text) == ip_network((IPv6Address(start), length))


@pytest.mark.usefixtures("host")
def test_members_are_printed_as_they_are_added() -> None:
    """Addresses that C prints in two ways among them."""
    starts = [0, 1 << 96, 0xFFFF << 32 | 0x01020304, 0x01020304, 0x20010DB8 << 96, 5 << 64]
    entries = [Entry(Shape(6, 0, 128), start or 7, 17) for start in starts]
    given = batch.of_entries(entries)
    ipset.restore(fwmark_iptables._lines({}, given, ""))
    wanted = {fwmark_iptables._prefix(entry): 17 for entry in entries}
    assert shown("vipctl6") == wanted
    ipset.restore(fwmark_iptables._lines(given, {}, ""))
    assert shown("vipctl6") == {}


@pytest.mark.usefixtures("host")
def test_ipsets_words_are_in_the_error() -> None:
    with pytest.raises(KernelError, match=r"Error in line 1: .*does not exist") as caught:
        ipset.restore(["add vipctl9 192.0.2.1\n"])
    assert "ipset list" in str(caught.value.hint)
    with pytest.raises(KernelError, match="does not exist"):
        ipset.restore(
            f"add vipctl9 10.{i >> 16}.{i >> 8 & 255}.{i & 255}\n" for i in range(200_000)
        )


@pytest.mark.usefixtures("host")
def test_a_rule_into_a_set_that_is_not_there_is_an_error() -> None:
    gone = acceptance(WEB, shapes=(Shape(4, 7, 24),))
    with pytest.raises(KernelError, match="table filter of IPv4"):
        fwmark_iptables._enforce(gone)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(legacy, "SEARCH", "/nowhere")
    monkeypatch.setattr(ipset, "SEARCH", "/nowhere")
    with pytest.raises(Missing, match="iptables") as caught:
        fwmark_iptables.probe()
    assert "apt install" in str(caught.value.hint)
    monkeypatch.undo()
    monkeypatch.setattr(ipset, "SEARCH", "/nowhere")
    with pytest.raises(Missing, match="ipset") as caught:
        fwmark_iptables.probe()
    assert caught.value.hint == "apt install ipset"
    assert fwmark_iptables.seal(Acceptance((), frozenset())) == ABSENT
