"""The rules of methods that have nftables: each golden file is what is made, and nft accepts it.

`python -m tests.unit.test_fwmark_ruleset` writes the files anew; read the difference before
committing it.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import pytest

from tests.harness.netns import Namespace
from vipctl.linux.nftables import ruleset, tables
from vipctl.methods import fwmark, route, tproxy
from vipctl.services.change import Acceptance, Shape
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.services.values import Leftover, Port

GOLDEN = Path(__file__).parent / "golden"

LOOPBACK, LOOPBACK6 = ip_address("127.0.0.1"), ip_address("::1")
RIP = RealServer(ip_address("10.0.1.11"))
RIP6 = RealServer(ip_address("fd00:1::11"))
HTTP, HTTPS, DNS = Port("tcp", 80), Port("tcp", 443), Port("udp", 53)

WEB = Service("web", 0x1000, reals=(RIP, RIP6))
ACCEPTED = Service("fwmark-17", 17)
PORTED = Service("ported", 0x1001, reals=(RIP, RIP6), ports=(HTTP, HTTPS))
NAMES = Service("dns", 0x1002, reals=(RIP, RIP6), ports=(DNS,))
PINGED = Service("pinged", 0x1003, reals=(RIP, RIP6), ping=True)
QUIET = Service("quiet", 0x1004, reals=(RIP, RIP6), leftover=Leftover.DROP)
IPV4_ONLY = Service("ipv4-only", 0x1005, reals=(RIP,))
IDLE = Service("idle", 0x1006)
ANSWERED = Service("answered", 0x1007, method="route", reals=(RIP, RIP6), own=(("arp", True),))

TO_8080 = (("to_port", 8080),)
PROXY = Service("proxy", 0x2000, method="tproxy", own=TO_8080)
PORTED_PROXY = PROXY._replace(name="ported", fwmark=0x2001, ports=(HTTP, HTTPS))
LISTENING = PROXY._replace(
    name="both", fwmark=0x2002, own=(("to_addresses", (LOOPBACK, LOOPBACK6)), *TO_8080)
)
LISTENING4 = PROXY._replace(
    name="v4", fwmark=0x2003, ports=(DNS,), own=(("to_addresses", (LOOPBACK,)), *TO_8080)
)

V4, V6 = Shape(4, 0, 24), Shape(6, 0, 64)
HOSTS = (Shape(4, 0, 32), Shape(6, 0, 128))


def acceptance(*services: Service, shapes: tuple[Shape, ...] = (V4, V6)) -> Acceptance:
    return Acceptance(services, frozenset(shapes))


CASES = {
    "one-service": acceptance(WEB),
    "every-length": acceptance(WEB, shapes=(*HOSTS, V4, V6, Shape(4, 0, 1), Shape(6, 0, 3))),
    "acceptance-only": acceptance(ACCEPTED, shapes=(V4,)),
    "acceptance-only-with-ports": acceptance(
        Service("fwmark-17", 17, ports=(DNS, HTTP)), shapes=(V4,)
    ),
    "ports": acceptance(WEB, PORTED),
    "planes": acceptance(PORTED, NAMES, shapes=(V4, V6, Shape(4, 1, 25), Shape(6, 1, 128))),
    "ping": acceptance(WEB, PINGED),
    "drop": acceptance(WEB, QUIET),
    "idle-family": acceptance(WEB, IPV4_ONLY),
    "idle-family-without-vips": acceptance(IPV4_ONLY, shapes=(V4,)),
    "no-real-server": acceptance(IDLE),
    "everything": acceptance(
        *(WEB, ACCEPTED, PORTED, NAMES, PINGED, QUIET, IPV4_ONLY, IDLE),
        shapes=(*HOSTS, V4, V6, Shape(4, 1, 25), Shape(6, 2, 64)),
    ),
    "passive-services": acceptance(
        *(PORTED, NAMES, PINGED), shapes=(V4, V6, Shape(4, 1, 25))
    )._replace(passive=frozenset({NAMES.fwmark, PINGED.fwmark})),
    "passive": acceptance(WEB, PORTED, PINGED)._replace(all_passive=True),
}


# What is of one method only.
ROUTED = {
    "arp": acceptance(WEB, ANSWERED),
    "arp-of-all": acceptance(ANSWERED),
    "arp-of-ipv6": acceptance(WEB, shapes=(V6,)),
    "arp-of-passive": acceptance(ANSWERED)._replace(all_passive=True),
}
PROXIED = {
    "one-service": acceptance(PROXY),
    "ports": acceptance(PROXY, PORTED_PROXY),
    "addresses": acceptance(LISTENING, LISTENING4),
    "ping-and-drop": acceptance(
        PROXY, PROXY._replace(name="quiet", fwmark=0x2004, ping=True, leftover=Leftover.DROP)
    ),
    "passive-service": acceptance(
        *(PORTED_PROXY, LISTENING4), shapes=(V4, V6, Shape(4, 1, 25))
    )._replace(passive=frozenset({PORTED_PROXY.fwmark})),
    "passive": acceptance(PROXY, LISTENING)._replace(all_passive=True),
    "planes": acceptance(PORTED_PROXY, LISTENING4, shapes=(V4, V6, Shape(4, 1, 25))),
}


def _routed(found: Acceptance) -> Acceptance:
    return found._replace(services=tuple(s._replace(method="route") for s in found.services))


ROUTED = {name: _routed(found) for name, found in (CASES | ROUTED).items()}
METHODS = {"fwmark": CASES, "route": ROUTED, "tproxy": PROXIED}
DRAWN = [(method, name) for method, cases in METHODS.items() for name in cases]


def drawn_tables(method: str, found: Acceptance) -> list[tuple[tables.Table, Acceptance]]:
    """The tables of a method, each with what it has to draw."""
    if method == "route":
        both = [(route.MARKS, found), (route.SILENCE, route._requested(found))]
        return [(table, part) for table, part in both if part.active() or part is found]
    return [({"fwmark": fwmark, "tproxy": tproxy}[method].TABLE, found)]


def text(method: str, name: str) -> str:
    drawn = drawn_tables(method, METHODS[method][name])
    return "".join(t.text(t.ruleset(part)) for t, part in drawn if t.ruleset(part))


def maps(method: str, name: str) -> str:
    """The maps and counters that the rules look up, as declarations of their own."""
    lines = []
    for table, part in drawn_tables(method, METHODS[method][name]):
        lines.append(f"add table {table.path}")
        for shape in sorted(part.shapes):
            kind = f"type ipv{shape.version}_addr : mark;"
            lines.append(f"add map {table.path} {ruleset.map_name(shape)} {{ {kind} }}")
        lines += (f"add counter {table.path} {counter}" for counter in table.counters(part))
    return "\n".join(lines) + "\n"


def golden(method: str, name: str) -> Path:
    return GOLDEN / method / f"{name}.nft"


@pytest.fixture(scope="module")
def host() -> Iterator[Namespace]:
    found = Namespace.create("ruleset")
    yield found
    found.close()


@pytest.mark.parametrize(("method", "name"), DRAWN)
def test_the_rules_are_those_of_the_golden_file(method: str, name: str) -> None:
    assert text(method, name) == golden(method, name).read_text()


@pytest.mark.parametrize(("method", "name"), DRAWN)
def test_nft_accepts_the_rules(host: Namespace, method: str, name: str) -> None:
    rules = maps(method, name) + golden(method, name).read_text()
    host.run(["nft", "-c", "-f", "-"], input=rules)


@pytest.mark.parametrize(("method", "name"), DRAWN)
def test_the_kernel_has_what_nft_would_make_of_the_rules(
    host: Namespace, method: str, name: str
) -> None:
    """Where they were compiled elsewhere; at first, and instead of others."""
    rules = maps(method, name) + golden(method, name).read_text()
    host.run(["nft", "-f", "-"], input=f"flush ruleset\n{rules}")
    wanted = listed(host)
    host.run(["nft", "flush", "ruleset"])
    drawn = drawn_tables(method, METHODS[method][name])
    with host:
        tables.commit(*(table.replacing(part, {}) for table, part in drawn))
        assert listed(host) == wanted
        for table, part in drawn:
            one = part.services[:1], part.shapes
            tables.commit(table.changing(part, Acceptance(*one), {}, {}))
            tables.commit(table.changing(Acceptance(*one), part, {}, {}))
            assert table.seal(part).digest
        assert listed(host) == wanted


def listed(host: Namespace) -> list[str]:
    """What there is, sorted: chains are in the order of creation."""
    return sorted(host.run(["nft", "list", "ruleset"]).stdout.splitlines())


@pytest.mark.parametrize("method", METHODS)
def test_there_is_a_case_for_each_golden_file(method: str) -> None:
    assert {path.stem for path in (GOLDEN / method).iterdir()} == METHODS[method].keys()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "nothing", [Acceptance((), frozenset()), acceptance(), acceptance(WEB, shapes=())]
)
def test_nothing_to_accept_has_no_rules(method: str, nothing: Acceptance) -> None:
    for table, part in drawn_tables(method, nothing):
        assert table.ruleset(part) == {}
    assert fwmark.BLOCK.accepting(nothing) == tproxy.BLOCK.accepting(nothing) == set()


@pytest.mark.parametrize(("method", "name"), DRAWN)
def test_chains_come_after_those_that_they_jump_to(method: str, name: str) -> None:
    for table, part in drawn_tables(method, METHODS[method][name]):
        declared: list[str] = []
        for chain, (_, rules) in table.ruleset(part).items():
            words = " ".join(rules).split()
            targets = {t for verb, t in pairwise(words) if verb in ("goto", "jump")}
            assert targets <= set(declared)
            declared.append(chain)


@pytest.mark.parametrize(("method", "chain"), [("fwmark", "prerouting"), ("route", "marking")])
def test_the_longest_prefix_and_the_last_plane_come_first(method: str, chain: str) -> None:
    """The first lookup that finds something ends it; only the last rule ends without that."""
    every, planes = (_rules(method, chain, case) for case in ("every-length", "planes"))
    assert _maps(every) == ["@v4_32", "@v4_24", "@v4_1", "@v6_128", "@v6_64", "@v6_3"]
    assert _maps(planes) == ["@v4_25_p1", "@v4_24", "@v6_128_p1", "@v6_64"]
    for rules in (every, planes):
        found = [rule.endswith(" accept") for rule in rules if "map" in rule]
        assert found == [True] * (len(found) - 1) + [False]


def test_the_order_of_prefix_lengths_of_tproxy_is_longest_last() -> None:
    every = acceptance(PROXY, shapes=tuple(CASES["every-length"].shapes))
    found = _maps(tproxy.chains(every)["prerouting"][1])
    assert found == ["@v4_1", "@v4_24", "@v4_32", "@v6_3", "@v6_64", "@v6_128"]


@pytest.mark.parametrize("case", CASES)
def test_no_ipv4_lookup_is_reached_by_a_packet_whose_ttl_ends_here(case: str) -> None:
    rules = _rules("fwmark", "prerouting", case)
    ipv4 = [rule for rule in rules if "map @v4" in rule]
    assert rules[0] == f"{fwmark.TTL} == 0 return" or all(
        r.startswith(f"{fwmark.TTL} != 0 ") for r in ipv4
    )


def _rules(method: str, chain: str, case: str) -> list[str]:
    return drawn_tables(method, CASES[case])[0][0].ruleset(CASES[case])[chain][1]


def _maps(rules: list[str]) -> list[str]:
    return [words[words.index("map") + 1] for words in map(str.split, rules) if "map" in words]


def test_arp_is_silenced_for_those_who_want_it_so() -> None:
    """IPv4 only; a passive director's are, whoever wants it."""
    assert "table arp" not in text("route", "arp-of-ipv6")
    assert "drop" not in text("route", "arp-of-all").partition("table arp")[2]
    assert "drop" in text("route", "arp-of-passive").partition("table arp")[2]
    assert f"{{ {WEB.fwmark:#x} }} drop" in text("route", "arp").partition("table arp")[2]
    assert "v6" not in text("route", "arp").partition("table arp")[2]


def test_by_its_rules_alone_a_director_of_method_fwmark_is_not_made_passive() -> None:
    """But for pings: the rules of routing do it, which need no libnftables."""
    passive = acceptance(WEB, PORTED)._replace(all_passive=True)
    assert fwmark.chains(passive) == fwmark.chains(passive._replace(all_passive=False))
    assert "ping" not in fwmark.chains(CASES["passive"])


def test_map_names_differ_and_tell_their_shape() -> None:
    shapes = [
        Shape(v, plane, length, room)
        for v in (4, 6)
        for plane in (0, 1, 32)
        for length in (1, 32)
        for room in (0, 1, 1024)
    ]
    assert len({ruleset.map_name(shape) for shape in shapes}) == len(shapes)
    assert [ruleset.shape_of(ruleset.map_name(shape)) for shape in shapes] == shapes


@pytest.mark.parametrize("name", ["", "v5_24", "v4", "v4_24_", "xv4_24", "v4_24_p", "v4_24_1_p2"])
def test_names_of_others_tell_no_shape(name: str) -> None:
    assert ruleset.shape_of(name) is None


@pytest.mark.parametrize(
    ("count", "room"), [(1, 1024), (1024, 1024), (1025, 4096), (1 << 20, 1 << 20)]
)
def test_rooms(count: int, room: int) -> None:
    shape = Shape(4, 0, 24)
    assert shape.sized(count) == Shape(4, 0, 24, room)
    assert shape.sized(count).bare() == shape


if __name__ == "__main__":
    for case in DRAWN:
        golden(*case).parent.mkdir(parents=True, exist_ok=True)
        golden(*case).write_text(text(*case))
