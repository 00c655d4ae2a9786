"""Roles: what changes make of them, and that the store keeps them."""

from pathlib import Path

from tests.unit.committing import commit
from vipctl.addresses.spans import Spans
from vipctl.reconcile.acceptance import acceptances
from vipctl.services import moving, planner, role
from vipctl.services.change import Acceptance, Change, Place
from vipctl.services.role import ACTIVE, Role
from vipctl.services.service import Service
from vipctl.state.store import Store

WEB, MAIL = Service("web", 0x1001), Service("mail", 0x1002)
VIPS = {Place("web", 4, 0): Spans.from_pairs(4, [(0x09000001, 0x09000001)])}
PASSIVE = Role(passive=True, services=frozenset({"web"}))


def test_a_role_is_switched_alone() -> None:
    assert ACTIVE.switched(None, passive=True) == Role(passive=True)
    assert PASSIVE.switched(None, passive=False) == Role(services=frozenset({"web"}))
    assert PASSIVE.switched("web", passive=False) == Role(passive=True)
    assert ACTIVE.switched("web", passive=True).switched("web", passive=True).of("web") == "passive"
    assert {PASSIVE.of("mail"), Role(services=frozenset({"web"})).of("web")} == {"passive"}
    assert role.from_plain(role.plain(PASSIVE)) == PASSIVE
    assert role.from_plain({}) == ACTIVE


def test_a_role_alone_is_a_change_and_has_an_inverse() -> None:
    change = Change(role=(ACTIVE, PASSIVE))
    assert change
    assert change.inverse().role == (PASSIVE, ACTIVE)
    assert not Change(role=(PASSIVE, PASSIVE))


def test_a_role_follows_the_name_of_its_service_and_ends_with_it(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s")
    commit(store, Change(after=(WEB, MAIL), taken=VIPS))
    commit(store, Change(role=(ACTIVE, PASSIVE)))
    renamed = moving.rename(store, WEB, "site").following(store.role())
    commit(store, renamed)
    assert store.role().services == {"site"}
    commit(store, renamed.inverse())
    assert store.role() == PASSIVE
    ended = planner.end(store, WEB).following(store.role())
    commit(store, ended)
    assert store.role() == Role(passive=True)
    commit(store, ended.inverse())
    assert store.role() == PASSIVE, "a change that is undone"
    other = planner.end(store, MAIL)
    assert other.following(store.role()) == other


def test_methods_are_told_of_it(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s")
    commit(store, Change(after=(WEB, MAIL), taken=VIPS))
    before = acceptances(store)["fwmark"]
    commit(store, Change(role=(ACTIVE, PASSIVE)))
    after = acceptances(store)["fwmark"]
    assert after == before._replace(passive=frozenset({WEB.fwmark}), all_passive=True)
    assert after.one_by_one() == before._replace(passive=frozenset({WEB.fwmark}))


def test_pings_are_answered_for_what_is_active() -> None:
    web, mail = WEB._replace(ping=True), MAIL._replace(ping=True)
    found = Acceptance((web, mail), frozenset(), passive=frozenset({web.fwmark}))
    assert found.answering_pings() == [mail]
    assert found._replace(all_passive=True).answering_pings() == []
