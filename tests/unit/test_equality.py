"""Two directors: what they must have alike has one digest, and what differs is said."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.netns import Namespace
from tests.unit.committing import commit
from tests.unit.strategies import services
from tests.unit.test_announce import hold, ranges
from vipctl.addresses.prefixes import AddressSet
from vipctl.operate import comparing
from vipctl.services import equality, planner
from vipctl.services.change import Change
from vipctl.services.director import Director
from vipctl.services.options import OPTIONS
from vipctl.services.service import Service, from_plain, made, plain
from vipctl.state.store import Store

WEB = from_plain(
    "web",
    {
        "fwmark": 0x1000,
        "reals": ["10.0.1.11", "10.0.1.12,weight=2"],
        "scheduler": "mh,port",
        "forward": "dr",
        "ports": ["tcp/80"],
    },
)
HELD = ranges("203.0.113.0/24", "2001:db8::/64")
OTHERWISE: Mapping[str, object] = {
    "fwmark": 0x2000,
    "ports": ["tcp/443"],
    "leftover": "drop",
    "ping": True,
    "scheduler": "mh",
    "forward": "tun",
    "persistence": 60,
    "checks": ["tcp"],
    "check_via": "rip",
    "fallback": "10.0.1.99",
    "all_down": "refuse",
    "slow_start": 30,
    "dead_after": 30,
    "agent": "8675,every=5s",
    "feedback": "load",
    "reals": ["10.0.1.11"],
}


def side(*found: Service, held: AddressSet = HELD, director: Director = {}) -> equality.Side:  # noqa: B006
    return equality.of(director, {service.name: (service, held) for service in found})


def other(**given: object) -> Service:
    return from_plain("web", {**plain(WEB), **given})


@pytest.mark.parametrize("field", sorted(OPTIONS))
def test_each_option_counts_or_is_local(field: str) -> None:
    if OPTIONS[field].local:
        value = {"method": "shim", "set_sysctls": True, "source_nat": ["auto"]}[field]
        fields = {"forward": "nat"} if field == "source_nat" else {}
        pair = [side(other(**fields)), side(other(**fields, **{field: value}))]
        assert pair[0].digest() == pair[1].digest()
        assert not list(equality.differences(*pair))
        return
    needed = {"scheduler": "wlc"} if field == "feedback" else {}
    mine, theirs = side(other(**needed)), side(other(**needed, **{field: OTHERWISE[field]}))
    assert mine.digest() != theirs.digest()
    said = list(equality.differences(mine, theirs))
    assert len(said) == 1
    assert said[0].startswith("web: ")
    assert ("real server 10.0.1.12 is only here" if field == "reals" else field) in said[0]


def test_options_of_one_method_are_local() -> None:
    pair = side(other(method="route")), side(other(method="route", arp=True))
    assert pair[0].digest() == pair[1].digest()


@given(st.lists(services(st.sampled_from(["a", "b"]), 7), max_size=2, unique_by=lambda s: s.name))
def test_the_same_is_the_same(found: list[Service]) -> None:
    mine, theirs = side(*found), side(*(from_plain(s.name, plain(s)) for s in reversed(found)))
    assert mine.digest() == theirs.digest()
    assert not list(equality.differences(mine, theirs))


@given(services(st.just("a"), 1), services(st.just("a"), 2) | services(st.just("a"), 1))
def test_a_digest_differs_where_words_do(one: Service, two: Service) -> None:
    mine, theirs = side(one), side(two)
    assert (mine.digest() == theirs.digest()) == (not list(equality.differences(mine, theirs)))


def test_ranges_count_and_not_how_they_came(tmp_path: Path) -> None:
    """Spans in several planes, or cut otherwise, are the same ranges."""
    late = made("late", {"fwmark": 5, "ports": WEB.ports[:0]})
    with Store.open(tmp_path) as store:
        early = other(ports=["udp/53"], fwmark=6)._replace(name="early")
        commit(store, planner.take(store, None, early, ranges("203.0.113.0/25")))
        commit(store, planner.take(store, None, WEB, ranges("203.0.113.64/26")))
        commit(store, planner.take(store, WEB, WEB, HELD))
        assert len({place.plane for place in store.held("web")}) > 1
        assert comparing.here(store).ranges["web"] == equality.of_ranges(HELD)
    assert not late.ports


@pytest.mark.parametrize(
    ("here", "there", "said"),
    [
        (HELD, ranges("203.0.113.0/24"), ["web: 2001:db8::/64 only here"]),
        (
            ranges("203.0.113.0/25"),
            ranges("203.0.113.128/25"),
            ["web: 203.0.113.0/25 only here", "web: 203.0.113.128/25 only there"],
        ),
        (
            ranges(*(f"203.0.113.{2 * n}" for n in range(9))),
            ranges("203.0.113.0"),
            ["web: 203.0.113.2/32 203.0.113.4/32 203.0.113.6/32 and 5 more only here"],
        ),
    ],
)
def test_ranges_in_words(here: AddressSet, there: AddressSet, said: list[str]) -> None:
    assert list(equality.differences(side(WEB, held=here), side(WEB, held=there))) == said


def test_settings_and_services_in_words() -> None:
    mine = side(WEB, director={"udp_timeout": 60, "sloppy_tcp": True})
    theirs = side(other(reals=["10.0.1.11,weight=0", "10.0.1.12,weight=2"])._replace(name="web"))
    assert list(equality.differences(mine, theirs)) == [
        "director: udp_timeout is 60 here, default there",
        "director: sloppy_tcp is yes here, default there",
        "web: real server 10.0.1.11 here is 10.0.1.11,weight=0 there",
    ]
    assert list(equality.differences(side(), side(WEB))) == ["service web is only there"]
    assert list(equality.differences(side(WEB), side())) == ["service web is only here"]


# the command

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def pair(host: Namespace, tmp_path: Path) -> tuple[Path, Path]:
    with host:
        for name in ("a", "b"):
            hold(tmp_path / name, HELD, WEB)
    return tmp_path / "a", tmp_path / "b"


@pytest.fixture
def vipctl(host: Namespace, capsys: pytest.CaptureFixture[str]) -> Run:
    from vipctl.cli import run

    def call(state: Path, *words: str) -> tuple[int, str]:
        with host:
            code = run(["--state-dir", str(state), *words])
        return code, capsys.readouterr().out

    return call


KINDS = {"yaml": ["export"], "json": ["--json", "export"], "status": ["--json", "status"]}


@pytest.mark.parametrize("kind", KINDS)
def test_the_other_directors_file(
    kind: str, host: Namespace, pair: tuple[Path, Path], vipctl: Run, tmp_path: Path
) -> None:
    mine, theirs = pair
    file = tmp_path / "there"
    file.write_text(vipctl(theirs, *KINDS[kind])[1])
    assert vipctl(mine, "diff", str(file)) == (0, "equal\n")
    with host, Store.open(theirs) as store:
        shim = other(method="shim", scheduler="rr")
        commit(store, planner.alter(store, WEB, shim))
        commit(store, planner.take(store, shim, shim, ranges("198.51.100.0/24")))
        commit(store, Change(director=({}, {"sloppy_tcp": True})))
    file.write_text(vipctl(theirs, *KINDS[kind])[1])
    code, said = vipctl(mine, "--json", "diff", str(file))
    found = json.loads(said)
    assert (code, found["equal"], found["changed"]) == (3, False, False)
    assert found["differences"] == [
        "director: sloppy_tcp is default here, yes there",
        "web: scheduler is mh,port here, rr there",
        "web: the ranges differ (an export of the other director tells which)"
        if kind == "status"
        else "web: 198.51.100.0/24 only there",
    ]
    code, said = vipctl(mine, "diff", str(file))
    assert (code, said.splitlines()) == (3, found["differences"])


def test_status_has_the_digest(pair: tuple[Path, Path], vipctl: Run) -> None:
    found = [json.loads(vipctl(state, "--json", "status")[1]) for state in pair]
    assert found[0]["digest"] == found[1]["digest"]
    assert found[0]["digest"] in vipctl(pair[0], "status")[1]


@pytest.mark.parametrize(
    "text",
    [
        "services: {web: {ranges: [203.0.113.0/33]}}",
        '{"kernel": "as stored"}',
        '{"kernel": "as stored", "director": {}, "services": {"web": 1}}',
        '{"kernel": "as stored", "director": {}, "services": {"web": {"fwmark": "x"}}}',
        "[]",
    ],
)
def test_a_wrong_file(text: str, pair: tuple[Path, Path], vipctl: Run, tmp_path: Path) -> None:
    (tmp_path / "there").write_text(text)
    assert vipctl(pair[0], "diff", str(tmp_path / "there"))[0] == 2
