"""Planning, case by case: the ends of the address space, shared VIPs, real servers, marks."""

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.unit.committing import commit
from tests.unit.test_planner import TCP, UDP, near, touching
from vipctl.addresses.few import BITS
from vipctl.addresses.prefixes import from_spans
from vipctl.errors import Refused
from vipctl.services import planner, reals
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.services.values import Leftover, Persistence
from vipctl.state.store import Store

RIP, OTHER = ip_address("10.0.1.11"), ip_address("10.0.1.12")
WEB = Service("web", 0x1000, reals=(RealServer(RIP, 80), RealServer(RIP, 81), RealServer(OTHER)))


def test_sharing_elsewhere_does_not_hinder_a_removal(tmp_path: Path) -> None:
    """Two services share one address; what is removed is held by one of them alone."""
    with Store.open(tmp_path / "state") as store:
        for mark, (port, span) in enumerate([(TCP, (1, 2)), (UDP, (0, 1))], start=1):
            service = Service(name=str(port), fwmark=mark, ports=(port,))
            commit(store, planner.take(store, None, service, from_spans([(4, span)])))
        assert planner.sole_holders(store, from_spans([(4, (0, 0))])) == [str(UDP)]
        ends = from_spans([(4, (0, 0)), (4, (2, 2))])
        assert planner.sole_holders(store, ends) == [str(TCP), str(UDP)]
        with pytest.raises(Refused, match="share addresses"):
            planner.sole_holders(store, from_spans([(4, (1, 1))]))


@pytest.mark.parametrize("version", BITS)
def test_the_first_and_the_last_address_are_found(tmp_path: Path, version: int) -> None:
    top = (1 << BITS[version]) - 1
    spans = [(0, 0), (2, 3), (top - 3, top - 2), (top, top)]
    with Store.open(tmp_path / "state") as store:
        wanted = from_spans((version, span) for span in spans)
        commit(store, planner.take(store, None, Service("web", 1), wanted))
        for low, high in [(0, 0), (1, 1), (0, top), (4, 4), (top, top), (top - 1, top - 1)]:
            assert touching(store, version, low, high) == near(store, version, low, high)


@pytest.mark.parametrize(
    "change", [{"ping": True}, {"leftover": Leftover.DROP}, {"method": "route"}], ids=str
)
def test_services_that_share_vips_treat_what_is_left_over_alike(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    shared = from_spans([(4, (1, 9))])
    http, dns = Service("http", 1, ports=(TCP,)), Service("dns", 2, ports=(UDP,))
    with Store.open(tmp_path / "state") as store:
        commit(store, planner.take(store, None, http, shared))
        with pytest.raises(Refused, match="left over differently"):
            planner.take(store, None, dns._replace(**change), shared)
        commit(store, planner.take(store, None, dns, shared))
        with pytest.raises(Refused, match="left over differently"):
            planner.alter(store, dns, dns._replace(**change))
        assert planner.alter(store, dns, dns._replace(persistence=Persistence(60)))


def test_real_servers_are_added_in_order_and_each_once() -> None:
    added = [RealServer(ip_address("10.0.1.2")), RealServer(OTHER), RealServer(RIP, 80)]
    merged = reals.add(WEB, added)
    assert [real.endpoint for real in merged.reals] == [
        *("10.0.1.2", "10.0.1.11:80", "10.0.1.11:81", "10.0.1.12"),
    ]


def test_a_real_server_with_another_weight_is_refused() -> None:
    with pytest.raises(Refused, match=r"has real server 10\.0\.1\.12 already") as caught:
        reals.add(WEB, [RealServer(OTHER, 0, 5)])
    assert "set-real web 10.0.1.12,weight=5" in (caught.value.hint or "")


def test_a_real_server_is_found_by_address_and_port() -> None:
    assert reals.find(WEB, OTHER, None) == RealServer(OTHER)
    assert reals.find(WEB, RIP, 81) == RealServer(RIP, 81)
    assert reals.has(WEB, RIP, None)
    assert not reals.has(WEB, RIP, 82)
    with pytest.raises(Refused, match="more than one") as caught:
        reals.find(WEB, RIP, None)
    assert "10.0.1.11:80 10.0.1.11:81" in (caught.value.hint or "")
    with pytest.raises(Refused, match=r"no real server 10\.0\.1\.12") as caught:
        reals.find(WEB, OTHER, 80)
    assert "10.0.1.12" in (caught.value.hint or "")


def test_a_mark_is_free_or_refused_with_its_holder() -> None:
    assert planner.choose_mark([WEB], None) == 0x1001
    assert planner.choose_mark([WEB], 17) == 17
    with pytest.raises(Refused, match=r"fwmark 4096 \(0x1000\) is service 'web'"):
        planner.choose_mark([WEB], 0x1000)


def test_a_real_server_that_is_not_there_is_told_with_the_nearest() -> None:
    with pytest.raises(Refused) as refused:
        reals.find(WEB, ip_address(f"{RIP}1"), None)
    assert refused.value.hint == f"did you mean {RIP} or {OTHER}?"
    with pytest.raises(Refused, match="no real server") as refused:
        reals.find(WEB, ip_address("2001:db8::1"), None)
    assert str(refused.value.hint).startswith("it has: ")
