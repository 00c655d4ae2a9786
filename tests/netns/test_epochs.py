"""What vouches for prefixes was taken before they were looked at, and ends when others come in."""

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns import snapshot
from vipctl.linux.nftables import tables
from vipctl.methods import fwmark, tproxy

RANGES = ("203.0.113.0/24", "198.51.100.0/24")
TABLES = {"fwmark": "vipctl", "route": "vipctl_route", "tproxy": "vipctl_tproxy"}
OPTIONS = {"fwmark": (), "route": ("--method=route",), "tproxy": ("--to-port=8080",)}
BLOCKS = {"fwmark": fwmark.BLOCK, "tproxy": tproxy.BLOCK}
BY_METHOD = pytest.mark.parametrize("method", TABLES)
WITHOUT_READING = "no prefix is read"


def store(vipctl: Vipctl, method: str) -> None:
    vipctl("add-service", "web", "--fwmark=17", *OPTIONS[method])
    vipctl("add-range", *RANGES, "--service=web")


def take(net: Lab, method: str) -> None:
    """Delete a prefix, as somebody else."""
    where = f"inet {TABLES[method]} v4_24_1024"
    net.director.run(["nft", f"delete element {where} {{ 203.0.113.0 }}"])


def assert_restored(vipctl: Vipctl, before: object) -> None:
    assert vipctl("--check", "restore")["changed"] is True
    assert vipctl("restore")["changed"] is True
    assert snapshot.unordered(vipctl.host) == before
    assert vipctl("restore")["changed"] is False


def also(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, act: Callable[[], None]) -> None:
    """Have something happen just after the first call of a function."""
    real, acts = getattr(where, name), [act]

    def called(*arguments: Any, **named: Any) -> Any:
        found = real(*arguments, **named)
        while acts:
            acts.pop()()
        return found

    monkeypatch.setattr(where, name, called)


def count_readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    real = tables.Table.holds

    def holds(*arguments: Any) -> bool:
        found.append("all")
        return real(*arguments)

    monkeypatch.setattr(tables.Table, "holds", holds)
    return found


@BY_METHOD
@pytest.mark.parametrize("compared", [True, False])
def test_a_change_does_not_vouch_for_what_others_did(
    net: Lab, vipctl: Vipctl, method: str, compared: bool
) -> None:
    store(vipctl, method)
    vipctl("add-range", "192.0.2.0/24", "--service=web")
    before = snapshot.unordered(net.director)
    vipctl("remove-range", "192.0.2.0/24")
    if compared:
        vipctl("restore")
    take(net, method)
    vipctl("add-range", "192.0.2.0/24", "--service=web")
    assert_restored(vipctl, before)


@BY_METHOD
def test_a_change_of_one_method_does_not_vouch_for_another(
    net: Lab, vipctl: Vipctl, method: str
) -> None:
    store(vipctl, method)
    other = "route" if method == "fwmark" else "fwmark"
    vipctl("add-range", "192.0.2.0/24", "--fwmark=18", f"--method={other}")
    before = snapshot.unordered(net.director)
    vipctl("remove-service", "fwmark-18")
    take(net, method)
    vipctl("add-range", "192.0.2.0/24", "--fwmark=18", f"--method={other}")
    assert_restored(vipctl, before)


@BY_METHOD
def test_a_repair_does_not_vouch_for_what_it_left_alone(
    net: Lab, vipctl: Vipctl, method: str
) -> None:
    store(vipctl, method)
    other = "route" if method == "fwmark" else "fwmark"
    vipctl("add-range", "192.0.2.0/24", "--fwmark=18", f"--method={other}")
    before = snapshot.unordered(net.director)
    take(net, method)
    net.director.run(["nft", f"delete table inet {TABLES[other]}"])
    assert vipctl("remove-range", "192.0.2.7/32")["restored"] is True
    vipctl("add-range", "192.0.2.7", "--fwmark=18")
    vipctl("restore")
    assert snapshot.unordered(net.director) == before


@BY_METHOD
def test_what_others_do_after_the_comparison_is_seen(
    net: Lab, vipctl: Vipctl, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    store(vipctl, method)
    before = snapshot.unordered(net.director)
    net.director.run(["nft", "add table inet foreign; delete table inet foreign"])
    with monkeypatch.context() as patch:
        also(patch, tables.Table, "holds", lambda: take(net, method))
        assert vipctl("restore")["changed"] is False
    assert_restored(vipctl, before)


@BY_METHOD
@pytest.mark.parametrize("words", ["add-range 192.0.2.0/24 --service=web", "restore"])
def test_what_others_do_while_a_command_runs_is_seen(
    net: Lab, vipctl: Vipctl, monkeypatch: pytest.MonkeyPatch, method: str, words: str
) -> None:
    """Just before it is done, but behind its own steps."""
    store(vipctl, method)
    if words == "restore":
        net.director.run(["nft", f"delete table inet {TABLES[method]}"])
    with monkeypatch.context() as patch:
        also(patch, tables, "commit", lambda: take(net, method))
        vipctl(*words.split())
    assert vipctl("--check", "restore")["changed"] is True
    assert vipctl("restore")["changed"] is True


@BY_METHOD
def test_own_changes_need_no_new_comparison(
    net: Lab, vipctl: Vipctl, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """A million prefixes would take half a minute."""
    read = count_readings(monkeypatch)
    store(vipctl, method)
    many = ("add-range", "192.0.0.0-192.0.9.7", "2001:db8::1", "--service=web", "--force")
    odd = ("add-range", *(f"198.18.{n}.{m}" for n in range(9) for m in range(0, 250, 2)))
    for words in (
        many,
        (*odd, "--service=web"),
        ("set-service", "web", "--ping"),
        ("add-service", "idle", "--method=fwmark"),
        ("add-range", "192.0.128.0/24", "--service=idle"),
        ("remove-range", "198.18.0.0/16"),
        ("remove-service", "idle"),
    ):
        vipctl(*words)
        assert vipctl("restore")["changed"] is False
    assert read == [], WITHOUT_READING
    net.director.run(["nft", f"delete table inet {TABLES[method]}"])
    assert vipctl("restore")["changed"] is True
    assert vipctl("restore")["changed"] is False
    assert read == [], WITHOUT_READING
    net.director.run(["nft", "add table inet foreign"])
    assert vipctl("restore")["changed"] is False
    assert read, "somebody else came in"
    read.clear()
    assert vipctl("restore")["changed"] is False
    assert read == [], WITHOUT_READING


REROUTING = pytest.mark.parametrize("method", ["fwmark", "tproxy"])


def count_loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    real = tables.Table.replacing

    def replacing(self: tables.Table, *arguments: Any) -> Any:
        found.append(self.name)
        return real(self, *arguments)

    monkeypatch.setattr(tables.Table, "replacing", replacing)
    return found


@REROUTING
@pytest.mark.parametrize("lost", ["rule", "route"])
def test_lost_rules_and_routes_come_back_without_a_prefix_loaded(
    net: Lab, vipctl: Vipctl, monkeypatch: pytest.MonkeyPatch, method: str, lost: str
) -> None:
    store(vipctl, method)
    whole, loads = snapshot.unordered(net.director), count_loads(monkeypatch)
    lose_routing(net, method, lost)
    assert vipctl("restore")["changed"] is True
    assert loads == []
    assert snapshot.unordered(net.director) == whole
    readings = count_readings(monkeypatch)
    assert vipctl("restore")["changed"] is False
    assert readings == [], "they are still vouched for"


@REROUTING
@pytest.mark.parametrize("and_more", ["prefix", "table", "intent", "boot"])
def test_prefixes_are_loaded_where_nobody_vouches_for_them(
    net: Lab, vipctl: Vipctl, monkeypatch: pytest.MonkeyPatch, method: str, and_more: str
) -> None:
    store(vipctl, method)
    whole, loads = snapshot.unordered(net.director), count_loads(monkeypatch)
    if and_more == "prefix":
        take(net, method)
    elif and_more == "table":
        net.director.run(["nft", "flush", "ruleset"])
    else:
        with sqlite3.connect(vipctl.state_dir / "state.db") as database:
            sets = {"intent": ("intent", "[17]"), "boot": ("owner", "another/1")}
            database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", sets[and_more])
    lose_routing(net, method, "rule")
    assert vipctl("restore")["changed"] is True
    assert loads != []
    assert snapshot.unordered(net.director) == whole


def lose_routing(net: Lab, method: str, lost: str) -> None:
    block = BLOCKS[method]
    if lost == "rule":
        net.director.ip(f"rule del pref {block.priorities[1]}")
    else:
        net.director.ip(f"route flush table {block.table}")
