"""The `fwmark` method's rules: each golden file is what is made, and what nft accepts.

`python -m tests.unit.test_fwmark_ruleset` writes the files anew; read the difference before
committing it.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import pytest

from tests.harness.netns import Namespace
from vipctl import ruleset
from vipctl.methods import fwmark
from vipctl.model import Acceptance, Leftover, Port, RealServer, Service, Shape

GOLDEN = Path(__file__).parent / "golden"

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
    "no-real-server": acceptance(IDLE),
    "everything": acceptance(
        *(WEB, ACCEPTED, PORTED, NAMES, PINGED, QUIET, IPV4_ONLY, IDLE),
        shapes=(*HOSTS, V4, V6, Shape(4, 1, 25), Shape(6, 2, 64)),
    ),
}


def text(found: Acceptance) -> str:
    return fwmark.TABLE.text(fwmark.chains(found))


def maps(found: Acceptance) -> str:
    """The maps that the rules look up, as declarations of their own."""
    return "add table inet vipctl\n" + "".join(
        f"add map inet vipctl {ruleset.map_name(shape)} {{ type ipv{shape.version}_addr : mark; }}\n"
        for shape in sorted(found.shapes)
    )


@pytest.fixture(scope="module")
def host() -> Iterator[Namespace]:
    found = Namespace.create("ruleset")
    yield found
    found.close()


@pytest.mark.parametrize("name", CASES)
def test_the_rules_are_those_of_the_golden_file(name: str) -> None:
    assert text(CASES[name]) == (GOLDEN / f"{name}.nft").read_text()


@pytest.mark.parametrize("name", CASES)
def test_nft_accepts_the_rules(host: Namespace, name: str) -> None:
    rules = maps(CASES[name]) + (GOLDEN / f"{name}.nft").read_text()
    host.run(["nft", "-c", "-f", "-"], input=rules)


def test_there_is_a_case_for_each_golden_file() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{name}.nft" for name in CASES}


@pytest.mark.parametrize(
    "nothing", [Acceptance((), frozenset()), acceptance(), acceptance(WEB, shapes=())]
)
def test_nothing_to_accept_has_no_rules(nothing: Acceptance) -> None:
    assert fwmark.chains(nothing) == {}
    assert fwmark.BLOCK.accepting(nothing) == set()


@pytest.mark.parametrize("name", CASES)
def test_chains_come_after_those_that_they_jump_to(name: str) -> None:
    declared: list[str] = []
    for chain, (_, rules) in fwmark.chains(CASES[name]).items():
        words = " ".join(rules).split()
        targets = {t for verb, t in pairwise(words) if verb in ("goto", "jump")}
        assert targets <= set(declared)
        declared.append(chain)


def test_the_order_of_prefix_lengths_is_longest_last() -> None:
    """The last lookup that finds something sets the mark; with disjoint spans any order will do."""
    _, rules = fwmark.chains(CASES["every-length"])["prerouting"]
    assert [rule.rpartition("@")[2] for rule in rules if "@" in rule] == [
        *("v4_1", "v4_24", "v4_32", "v6_3", "v6_64", "v6_128"),
    ]


def test_map_names_differ() -> None:
    shapes = [Shape(v, p, n) for v, p, n in [(4, 0, 24), (4, 1, 24), (6, 0, 24), (4, 0, 2)]]
    assert len({ruleset.map_name(shape) for shape in shapes}) == len(shapes)


if __name__ == "__main__":
    for case, wanted in CASES.items():
        (GOLDEN / f"{case}.nft").write_text(text(wanted))
