"""Marks, entries, changes and the rules that bind a service together."""

from ipaddress import ip_address

import pytest

from tests.unit.holding import Row, held_by
from vipctl.errors import Refused
from vipctl.services import batch
from vipctl.services.change import Change, Shape
from vipctl.services.marks import MARK_MASK, MARK_VALUE, free_mark
from vipctl.services.real import RealServer
from vipctl.services.service import Service, checked, idle_versions, ports_disjoint
from vipctl.services.values import Forward, Persistence, Port, Scheduler, Tunnel

RIP, RIP6 = ip_address("10.0.1.11"), ip_address("fd00:1::11")
WEB = Service("web", 0x1000)
HTTP, DNS = Port("tcp", 80), Port("udp", 53)
# Masks of others: AWS CNI, portmap, Kubernetes, Tailscale, Calico.
FOREIGN = (0x80, 0x2000, 0xC000, 0xFF0000, 0xFFFF0000)


def test_marks_are_given_out_lowest_first_and_avoid_those_of_others() -> None:
    own = range(MARK_VALUE, MARK_VALUE << 1)
    block = [mark for mark in own if not any(mark & mask for mask in FOREIGN)]
    assert len(block) == 2048
    assert all(mark & MARK_MASK == MARK_VALUE for mark in block)
    for number in (0, 1, 127, 128, 2047):
        assert free_mark(block[:number]) == block[number]
    assert free_mark([*block[:7], *block[8:]]) == block[7]
    with pytest.raises(Refused, match="all 2048 fwmarks") as caught:
        free_mark(block)
    assert "--fwmark" in (caught.value.hint or "")


@pytest.mark.parametrize("forward", [Forward.DR, Forward.TUN])
def test_a_port_cannot_be_translated_without_nat(forward: Forward) -> None:
    reals = (RealServer(RIP), RealServer(RIP6, 80))
    with pytest.raises(Refused, match=r"\[fd00:1::11\]:80") as caught:
        checked(Service("web", 0x1000, forward=forward, reals=reals))
    assert "fd00:1::11" in (caught.value.hint or "")
    with pytest.raises(Refused):
        checked(Service("web", 0x1000, reals=reals)._replace(forward=forward))


@pytest.mark.parametrize(
    ("left", "right", "may_share"),
    [
        ((HTTP,), (DNS,), True),
        ((HTTP,), (HTTP, DNS), False),
        ((HTTP,), (Port("udp", 80),), True),
        ((), (DNS,), False),
        ((HTTP,), (), False),
        ((), (), False),
    ],
)
def test_services_that_name_different_ports_may_share(
    left: tuple[Port, ...], right: tuple[Port, ...], may_share: bool
) -> None:
    services = WEB._replace(ports=left), Service("other", 0x1001, ports=right)
    assert ports_disjoint(*services) is may_share


def test_one_packet_scheduling_is_not_for_nat() -> None:
    scheduler = Scheduler("rr", ("ops",))
    with pytest.raises(Refused, match="could not translate"):
        checked(WEB._replace(scheduler=scheduler))
    assert checked(WEB._replace(scheduler=scheduler, forward=Forward.DR)).scheduler.bits() == 4


@pytest.mark.parametrize(
    ("scheduler", "drains"),
    [
        *((Scheduler("wlc"), True), (Scheduler("dh"), False), (Scheduler("sh"), False)),
        *((Scheduler("sh", ("port",)), False), (Scheduler("sh", ("fallback",)), True)),
        *((Scheduler("mh"), False), (Scheduler("mh", ("fallback", "port")), True)),
    ],
)
def test_which_schedulers_can_drain(scheduler: Scheduler, drains: bool) -> None:
    assert scheduler.drains() is drains


def test_entries_are_the_prefixes_with_their_service_s_mark() -> None:
    held = held_by([Row("web", 4, 0, 8, 12), Row("dns", 6, 1, 0, 0)])
    found = list(batch.entries(batch.of(held, {"web": 1, "dns": 2})))
    assert [(e.shape, e.start, e.mark) for e in found] == [
        (Shape(4, 0, 30), 8, 1),
        (Shape(4, 0, 32), 12, 1),
        (Shape(6, 1, 128), 0, 2),
    ]


def test_what_a_change_gains_and_loses() -> None:
    """A span that grows is one that goes and one that comes."""
    change = Change(
        before=(WEB,),
        after=(WEB,),
        released=held_by([Row("web", 4, 0, 10, 19), Row("dns", 4, 1, 40, 49)]),
        taken=held_by([Row("web", 4, 0, 10, 25), Row("web", 4, 0, 40, 44)]),
    )
    assert (list(change.gained().v4), list(change.lost().v4)) == ([(20, 25)], [(45, 49)])
    assert change.inverse().inverse() == change
    assert change.inverse().gained() == change.lost()


def test_a_change_of_nothing_is_none() -> None:
    held = held_by([Row("web", 4, 0, 1, 2)])
    assert not Change()
    assert not Change(before=(WEB,), after=(WEB,), released=held, taken=held)
    assert Change(after=(WEB,))
    assert Change(before=(WEB,), after=(WEB._replace(ping=True),))
    assert Change(released=held)


@pytest.mark.parametrize(
    ("name", "reals", "idle"),
    [
        ("web", (), (4, 6)),
        ("web", (RealServer(RIP),), (6,)),
        ("web", (RealServer(RIP6),), (4,)),
        ("web", (RealServer(RIP), RealServer(RIP6)), ()),
        ("web", (RealServer(RIP, forward="tun"),), (6,)),
        ("web", (RealServer(RIP, forward="tun", family="both"),), ()),
        ("web", (RealServer(RIP6, forward="tun", family="both"),), ()),
        ("fwmark-17", (), ()),
    ],
)
def test_versions_that_nobody_serves(
    name: str, reals: tuple[RealServer, ...], idle: tuple[int, ...]
) -> None:
    assert idle_versions(WEB._replace(name=name, reals=reals)) == idle


def test_the_sip_engine_is_for_udp() -> None:
    sip = Service("sip", 17).altered({"persistence": Persistence(60, pe="sip")})
    assert sip.altered({"ports": (Port("tcp", 5061), Port("udp", 5060))})
    with pytest.raises(Refused, match="UDP alone"):
        sip.altered({"ports": (Port("tcp", 5061),)})


def test_a_real_server_has_a_forwarding_method_of_its_own() -> None:
    mapped, tunnelled = RealServer(RIP, 8080), RealServer(RIP6, forward="tun")
    mixed = Service("web", 17).with_reals([mapped, tunnelled])
    assert mixed.forwards() == {Forward.NAT, Forward.TUN}
    for altered in ({"scheduler": Scheduler("rr", ("ops",))}, {"source_nat": ("auto",)}):
        with pytest.raises(Refused):
            mixed.altered(altered)
    with pytest.raises(Refused, match="names a port"):
        mixed.altered({"forward": Forward.DR})
    with pytest.raises(Refused, match="names a port"):
        mixed.with_reals([mapped._replace(forward="dr")])
    own = Service("web", 17, forward=Forward.DR).with_reals([mapped._replace(forward="nat")])
    assert own.forwards() == {Forward.NAT}
    assert own.altered({"source_nat": ("auto",)})


@pytest.mark.parametrize(
    ("real", "words"),
    [
        (RealServer(RIP, tunnel=Tunnel("gre")), "tunnel=gre"),
        (RealServer(RIP, family="both"), "family=both"),
    ],
)
def test_what_only_tun_can_have(real: RealServer, words: str) -> None:
    service = Service("web", 17)
    for forward in (Forward.NAT, Forward.DR):
        with pytest.raises(Refused, match=f"{words}.*--forward tun, not {forward}"):
            service._replace(forward=forward).with_reals([real])
    own = service.with_reals([real._replace(forward="tun")])
    assert own.altered({"forward": Forward.DR})
    tunnelled = service.altered({"forward": Forward.TUN}).with_reals([real])
    with pytest.raises(Refused, match=words):
        tunnelled.altered({"forward": Forward.DR})
    with pytest.raises(Refused, match=words):
        tunnelled.with_reals([real._replace(forward="dr")])
