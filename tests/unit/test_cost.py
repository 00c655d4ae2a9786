"""What a command costs that touches little, by what it asks of the database: not of the clock."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

from tests.unit.committing import commit
from vipctl.addresses.prefixes import address, from_spans
from vipctl.addresses.spans import Spans
from vipctl.linux import sysctl
from vipctl.linux.nftables import ruleset
from vipctl.methods import fwmark
from vipctl.reconcile.acceptance import acceptances
from vipctl.services import planner
from vipctl.services.change import Change, Place
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.state.store import Store

EVERY = 10  # steps of sqlite's machine
Count = tuple[int, int]  # statements, steps


def counted(store: Store, work: Callable[[], object]) -> Count:
    """What the work makes the database do."""
    statements: list[str] = []
    steps: list[None] = []
    store._db.set_trace_callback(statements.append)
    store._db.set_progress_handler(lambda: steps.append(None), EVERY)
    try:
        work()
    finally:
        store._db.set_trace_callback(None)
        store._db.set_progress_handler(None, EVERY)
    return len(statements), EVERY * len(steps)


def filled(directory: Path, services: int, method: str) -> Store:
    """Services of ten ranges each."""
    store = Store.open(directory)
    all_of_them = [Service(f"s{n}", n + 1, method=method) for n in range(services)]
    taken = {
        Place(service.name, 4, 0): Spans.from_pairs(
            4, [((at + 1) << 16 | 2 * n << 8, (at + 1) << 16 | 2 * n << 8) for n in range(10)]
        )
        for at, service in enumerate(all_of_them)
    }
    commit(store, Change(after=tuple(all_of_them), taken=taken))
    return store


@pytest.mark.parametrize("method", ["fwmark", "route"])
def test_what_is_accepted_is_read_once_for_each_service(tmp_path: Path, method: str) -> None:
    stores = (filled(tmp_path / str(number), number, method) for number in (50, 500))
    (_, few), (_, many) = (counted(store, partial(acceptances, store)) for store in stores)
    assert many <= 12 * few


def test_what_is_accepted_is_worked_out_once_for_each_state(tmp_path: Path) -> None:
    store = filled(tmp_path / "s", 3, "fwmark")
    found = acceptances(store)
    assert counted(store, lambda: acceptances(store)) == (0, 0)
    service = store.services()["s1"]
    commit(store, planner.end(store, service))
    assert acceptances(store)["fwmark"].services == found["fwmark"].services[::2]


def test_neighbours_of_one_range_are_asked_for_at_once_in_all_services(tmp_path: Path) -> None:
    wanted = from_spans([(4, (0x090000FF, 0x090000FF))])
    counts = []
    for number in (5, 500):
        store = filled(tmp_path / str(number), number, "fwmark")
        service = store.services()["s1"]
        counts.append(counted(store, partial(planner.take, store, service, service, wanted)))
    (few, _), (many, steps) = counts
    assert many == few
    assert steps <= 200 * 500


def test_rules_are_drawn_once_for_each_state(tmp_path: Path) -> None:
    store = filled(tmp_path / "s", 3, "fwmark")
    before = acceptances(store)["fwmark"]
    with mock.patch.object(ruleset, "guard", wraps=ruleset.guard) as drawn:
        assert fwmark.chains(before) is fwmark.chains(before)
        fwmark.chains(before._replace(services=before.services[1:]))
    assert drawn.call_count == 2


def test_whether_connections_are_tracked_is_looked_up_once() -> None:
    real = RealServer(address(4, 0x0A00010B))
    services = [Service(f"s{n}", n, reals=(real,)) for n in range(1, 50)]
    with mock.patch.object(sysctl, "read", wraps=sysctl.read) as looked:
        assert sysctl.needed(services)["net.ipv4.ip_forward"] == "1"
    assert looked.call_count == 1
