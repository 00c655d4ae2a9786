"""With --check an operator is told what there will be to know, not what there is now."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.harness.netns import Namespace
from tests.unit.committing import commit
from vipctl.addresses.prefixes import from_spans, parse_range
from vipctl.linux import sysctl
from vipctl.operate import advice
from vipctl.services import planner
from vipctl.services.change import Change
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.state.store import Store

WEB = Service("web", 0x1000, reals=(RealServer(ip_address("10.0.1.11")),))
BOTH = from_spans([parse_range("203.0.113.0/24"), parse_range("2001:db8::/64")])
FORWARD = "net.ipv4.ip_forward"


def both_ways(store: Store, change: Change) -> list[list[str]]:
    """The warnings before a change, and after it is made as `transaction.commit` does."""
    before = list(advice.warnings(store, change, done=False))
    kept = store.sysctls()
    gone = {service.name for service in change.before}
    stay = [service for name, service in store.services().items() if name not in gone]
    planned = sysctl.plan(kept, [*stay, *change.after])
    store.begin(change, (), kept | planned)
    sysctl.enforce(kept, planned)
    store.finish({}, planned)
    return [before, list(advice.warnings(store, change))]


@pytest.fixture
def store(host: Namespace, tmp_path: Path) -> Store:
    """With ranges of both versions for a service that has a real server of one."""
    host.sysctl(FORWARD, 0)
    with host:
        opened = Store.open(tmp_path / "s")
        commit(opened, planner.take(opened, None, WEB, BOTH))
    return opened


def test_ranges_that_go_are_not_warned_of(host: Namespace, store: Store) -> None:
    with host:
        change = planner.release(
            store, WEB, from_spans([parse_range("2001:db8::/64")]), end_if_empty=False
        )
        before, after = both_ways(store, change._replace(before=(WEB,), after=(WEB,)))
    assert before == after
    assert not any("IPv6" in text for text in after)


def test_nor_sysctls_that_the_change_sets(host: Namespace, store: Store) -> None:
    other = WEB._replace(name="other", fwmark=0x1001, set_sysctls=True)
    with host:
        change = Change(before=(WEB,), after=(WEB._replace(ping=True), other))
        before, after = both_ways(store, change)
    assert host.sysctl(FORWARD) == "1"
    assert before == after
    assert not any(FORWARD in text for text in after)


def test_but_those_that_it_puts_back(host: Namespace, store: Store) -> None:
    with host:
        setting = WEB._replace(set_sysctls=True)
        both_ways(store, Change(before=(WEB,), after=(setting,)))
        assert host.sysctl(FORWARD) == "1"
        gone = WEB._replace(reals=())
        both_ways(store, Change(before=(setting,), after=(gone,)))
        assert host.sysctl(FORWARD) == "0"
        before, after = both_ways(store, Change(before=(gone,), after=(WEB,)))
    assert before == after
    assert any(FORWARD in text for text in after)


def test_a_tunnel_could_serve_the_other_family(host: Namespace, store: Store) -> None:
    (real,) = WEB.reals
    with host:
        told = [
            text
            for way in ("nat", "tun")
            for text in advice.warnings(
                store, Change(before=(WEB,), after=(WEB.with_reals([real._replace(forward=way)]),))
            )
            if "IPv6 real server" in text
        ]
    assert ["family=both" in text for text in told] == [False, True]
