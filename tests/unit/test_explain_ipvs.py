"""What `explain` says of real servers, by what IPVS has and by what is stored."""

import os
from ipaddress import ip_address
from pathlib import Path

import pytest

from vipctl.diagnosis import balancing, tuning
from vipctl.diagnosis.case import Case, Question
from vipctl.linux import ipvs
from vipctl.linux.ipvs.messages import Key, Virtual
from vipctl.services.change import Entry, Shape
from vipctl.services.real import parse_reals
from vipctl.services.service import Service
from vipctl.services.syntax import parse_scheduler
from vipctl.services.values import Forward, Port
from vipctl.state.store import Store

VIP = ip_address("203.0.113.7")
ASKED = Question(VIP, Port("tcp", 80), ip_address("192.0.2.9"), 1)
ENTRY = Entry(Shape(4, 0, 32), int(VIP), 17)
ONE, TWO = "10.0.1.11", "10.0.1.12"
OTHERS = "fwmark-17"  # a service that keepalived or ipvsadm has in IPVS


def service(*reals: str, scheduler: str = "wlc", name: str = "web") -> Service:
    return Service(name, 17, scheduler=parse_scheduler(scheduler)).with_reals(parse_reals(reals))


def in_ipvs(*reals: str, scheduler: str = "wlc", forward: Forward = Forward.NAT) -> Virtual | None:
    made = service(*reals, scheduler=scheduler)._replace(forward=forward)
    return ipvs.desired([made]).get(Key(17, 4))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "state")


def case(store: Store, stored: Service, seen: Virtual | None) -> Case:
    return Case(store, ASKED, stored, ENTRY, (), ipvs=True, seen=seen)


@pytest.mark.parametrize(
    ("stored", "seen", "cause"),
    [
        (service(ONE, TWO), in_ipvs(ONE, TWO), None),
        (service(ONE, f"{TWO},weight=0"), in_ipvs(ONE, f"{TWO},weight=0"), None),
        (service(ONE, TWO), None, "ipvs-service-missing"),
        (service(ONE, TWO, name=OTHERS)._replace(reals=()), None, "ipvs-service-missing"),
        (service(ONE, TWO), in_ipvs(ONE), None),
        (service(ONE, TWO), in_ipvs(f"{ONE},weight=0"), "ipvs-real-missing"),
        (service(ONE), in_ipvs(f"{ONE},weight=0"), "weights-altered"),
        (service(f"{ONE},weight=0"), in_ipvs(f"{ONE},weight=0"), "all-drained"),
        (service(name=OTHERS), in_ipvs(f"{ONE},weight=0"), "all-drained"),
        (service("fd00:1::11"), None, "no-real-server"),
        (
            service(ONE, TWO, scheduler="sh"),
            in_ipvs(ONE, f"{TWO},weight=0", scheduler="sh"),
            "scheduler-without-fallback",
        ),
        (
            service(name=OTHERS),
            in_ipvs(ONE, f"{TWO},weight=0", scheduler="dh"),
            "scheduler-without-fallback",
        ),
        (
            service(ONE, f"{TWO},weight=0", scheduler="sh,fallback"),
            in_ipvs(ONE, f"{TWO},weight=0", scheduler="sh,fallback"),
            None,
        ),
    ],
)
def test_the_cause_is_named(
    store: Store, stored: Service, seen: Virtual | None, cause: str | None
) -> None:
    steps = list(balancing.steps(case(store, stored, seen)))
    assert [step.cause for step in steps if step.cause] == ([cause] if cause else [])
    assert all(step.fix for step in steps if step.cause)


def test_somebody_elses_service_without_real_servers(store: Store) -> None:
    empty = in_ipvs(ONE)
    assert empty
    found = balancing.steps(case(store, service(name=OTHERS), empty._replace(dests=())))
    assert [step.cause for step in found] == [None, "no-real-server"]


def test_a_scheduler_that_the_kernel_lacks(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the files of its modules tell."""
    there = tmp_path / os.uname().release
    there.mkdir()
    for kind in ("dep", "builtin"):
        (there / f"modules.{kind}").write_text("kernel/net/netfilter/ipvs/ip_vs_rr.ko:\n")
    monkeypatch.setattr(ipvs, "MODULES", str(tmp_path))
    for scheduler, cause in (("rr", "ipvs-service-missing"), ("mh", "scheduler-missing")):
        stored = service(ONE, scheduler=scheduler)
        assert next(balancing.steps(case(store, stored, None))).cause == cause


def test_real_servers_have_the_forwarding_method_of_ipvs(store: Store) -> None:
    words = f"{ONE},forward=tun,tunnel=gre+csum", f"{TWO},forward=dr"
    found = case(store, service(name=OTHERS), in_ipvs(*words)).reals
    told = [(str(r.address), r.forward, str(r.tunnel)) for r in found]
    assert told == [(ONE, "tun", "gre+csum"), (TWO, "dr", "ipip")]


def test_other_settings_are_hints(store: Store) -> None:
    found = balancing.hints(case(store, service(ONE), in_ipvs(ONE, scheduler="rr")))
    assert [hint.id for hint in found] == ["not-as-stored"]
    assert not list(balancing.hints(case(store, service(ONE), in_ipvs(ONE))))


@pytest.mark.parametrize("kind", tuning.MORE)
def test_every_kind_of_tunnel_takes_room(kind: str) -> None:
    (real,) = parse_reals([f"{ONE},forward=tun,tunnel={kind}"])
    assert tuning.MORE[tuning._kind(real.tunnel)] < 40
