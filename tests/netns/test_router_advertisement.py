"""A director that learned its default route from a router keeps it, though it comes to forward."""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.harness.netns import Namespace, execute
from tests.harness.waiting import wait_until
from tests.unit.committing import commit
from vipctl.linux import sysctl
from vipctl.linux.routing import ways
from vipctl.operate import advice
from vipctl.services.change import Change
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.state.store import Store

FORWARD = "net.ipv6.conf.all.forwarding"
DEVICE = "eth0.7"  # a name with a dot, which is the name of a VLAN
ACCEPT = "net.ipv6.conf.eth0/7.accept_ra"
SERVICE = Service("web", 0x1000, reals=(RealServer(ip_address("fd00:1::11")),), set_sysctls=True)
# RFC 4861: type 134, code, checksum (the kernel's), hop limit, flags, lifetime 1800 s, timers.
ADVERTISEMENT = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)


def advertise(router: Namespace) -> None:
    """Send one router advertisement to all nodes."""
    with router, socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        raw.sendto(ADVERTISEMENT, ("ff02::1", 0, 0, socket.if_nametoindex("eth0")))


def learned(director: Namespace) -> str:
    return director.run(["ip", "-6", "route", "show", "default", "proto", "ra"]).stdout


@pytest.fixture
def director() -> Iterator[Namespace]:
    """With a default route from a router that advertises itself."""
    router, host = Namespace.create("router"), Namespace.create("director")
    ends = f"eth0 netns {router.name} type veth peer name {DEVICE} netns {host.name}"
    execute(["ip", "link", "add", *ends.split()])
    router.ip("link set eth0 up")
    host.ip(f"link set {DEVICE} up")
    assert sysctl._path(ACCEPT) == f"/proc/sys/net/ipv6/conf/{DEVICE}/accept_ra"

    def route_is_there() -> bool:
        with suppress(OSError):  # the link is not up yet
            advertise(router)
        time.sleep(0.05)
        return bool(learned(host))

    wait_until(route_is_there, "a default route from the router")
    yield host
    router.close()
    host.close()


def take(store: Store, services: list[Service]) -> None:
    """As `transaction.commit` does, which needs IPVS."""
    kept = store.sysctls()
    before = tuple(store.services().values())
    planned = sysctl.plan(kept, services)
    store.begin(Change(before, tuple(services)), (), kept | planned)
    sysctl.enforce(kept, planned)
    store.finish({}, planned)


def test_the_kernel_drops_it_otherwise(director: Namespace) -> None:
    with director:
        sysctl.write(FORWARD, "1")
    assert learned(director) == ""


def test_the_route_stays_and_all_is_put_back(director: Namespace, tmp_path: Path) -> None:
    with director, Store.open(tmp_path / "s") as store:
        assert ways.advertised() == {DEVICE}
        take(store, [SERVICE])
        assert (sysctl.read(FORWARD), sysctl.read(ACCEPT)) == ("1", "2")
        assert "default via" in learned(director)
        take(store, [SERVICE._replace(ping=True)])
        assert store.sysctls()[ACCEPT] == ("1", "2")
        take(store, [])
        assert (sysctl.read(FORWARD), sysctl.read(ACCEPT)) == ("0", "1")
        assert "default via" in learned(director)
        assert store.sysctls() == {}


def test_where_it_is_not_learned_nothing_else_is_set(tmp_path: Path) -> None:
    host = Namespace.create("director")
    host.ip(
        "link add eth0 type veth peer name eth1",
        "link set eth0 up",
        "route add ::/0 dev eth0",
    )
    with host, Store.open(tmp_path / "s") as store:
        take(store, [SERVICE])
        assert store.sysctls().keys() == {FORWARD}
    host.close()


def test_after_a_boot_it_listens_before_it_has_heard(director: Namespace) -> None:
    """The unit may run before the first advertisement; what was remembered says whom to expect."""
    with director:
        director.ip("route del ::/0")
        planned = sysctl.plan(
            sysctl.of_routers({ACCEPT: ("1", "2"), "other": ("0", "1")}), [SERVICE]
        )
    assert planned == {FORWARD: ("0", "1"), ACCEPT: ("1", "2")}


def test_who_sets_it_by_hand_is_told(director: Namespace, tmp_path: Path) -> None:
    service = SERVICE._replace(set_sysctls=False)
    with director, Store.open(tmp_path / "s") as store:
        commit(store, Change(after=(service,)))
        said = [
            text for text in advice.warnings(store, Change(after=(service,))) if FORWARD in text
        ]
    assert len(said) == 1
    assert f"{ACCEPT}=2 first" in said[0]
