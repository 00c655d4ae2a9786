"""Connection sync as it is stored, refused and compared; IPVS is in tests/vm/test_sync.py."""

from pathlib import Path

import pytest

from tests.unit.checked import Vipctl
from tests.unit.committing import done
from tests.unit.test_equality import WEB, side
from vipctl.operate import outcome
from vipctl.operate.changing import Outcome
from vipctl.reconcile import lacking
from vipctl.services import equality
from vipctl.services.change import Change
from vipctl.services.sync import SYSCTLS, Sync
from vipctl.state.store import Store

ETH1, ETH2 = Sync("eth1", 7), Sync("eth2", 7)


def test_the_store_keeps_it_and_what_a_change_may_have_left(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert store.sync() is None
        for change in (Change(sync=(None, ETH1)), Change(sync=(ETH1, ETH2))):
            assert change
            store.begin(change, (), {})
            assert (store.sync(), store.intent()) == (change.sync[1], frozenset())
            assert set(store.former_syncs()) == {*filter(None, change.sync)}
            done(store)
        assert (store.sync(), store.former_syncs(), store.in_use()) == (ETH2, [], True)
        store.begin(Change(sync=(ETH2, None)), (), {})
        store.begin(Change(sync=(None, ETH2)), (), {})
        assert (store.sync(), store.former_syncs()) == (ETH2, [ETH2])
        done(store)
        assert not Change(sync=(ETH2, ETH2))


def test_its_sysctls_are_chosen_as_long_as_it_is(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert lacking.chosen(store) == {}
        assert lacking.chosen(store, Change(sync=(None, ETH1))) == SYSCTLS
        store.begin(Change(sync=(None, ETH1), director=({}, {"sloppy_tcp": True})), (), {})
        assert lacking.chosen(store) == {**SYSCTLS, "net.ipv4.vs.sloppy_tcp": "1"}
        assert lacking.chosen(store, Change(sync=(ETH1, None))) == {"net.ipv4.vs.sloppy_tcp": "1"}


def test_directors_differ_in_its_id_and_not_in_its_interface() -> None:
    mine, same, theirs = (side(WEB)._replace(sync=sync) for sync in ("7", "7", "no"))
    assert mine.digest() == same.digest() != theirs.digest()
    assert list(equality.differences(mine, theirs)) == [
        "the id of connection sync is 7 here, no there"
    ]
    assert not list(equality.differences(mine, side(WEB))), "an export does not tell"


def test_a_difference_shows_it() -> None:
    shown = [
        outcome.difference(Outcome(Change(sync=s), False, ())) for s in ((None, ETH1), (ETH1, ETH2))
    ]
    assert shown[0] == ("services: {}\n", "sync:\n  interface: eth1\n  id: 7\nservices: {}\n")
    assert "eth1" in shown[1][0]
    assert "eth2" in shown[1][1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--interface", "nosuch0"], 5, "there is no interface nosuch0"),
        (["--interface", "a b"], 2, "is not an interface"),
        (["--interface", "lo", "--id", "0"], 2, "--id"),
        (["--interface", "lo", "--id", "256"], 2, "--id"),
        (["--id", "7"], 2, "--interface"),
    ],
)
def test_what_it_refuses(vipctl_check: Vipctl, words: list[str], code: int, said: str) -> None:
    done = vipctl_check("set-sync", *words)
    assert (done.code, done.stdout) == (code, "")
    assert said in done.stderr
