"""`fwmark-iptables`: no packet of a VIP is lost while sets, services, marks and ports change."""

import socket
import threading
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab, family
from tests.harness.netns import Namespace
from tests.harness.waiting import wait_until
from tests.netns.addresses import RANGES, VIPS
from tests.netns.arrivals import settle
from tests.netns.iptables import ByIptables, saved
from vipctl.methods import fwmark_iptables
from vipctl.services.batch import Batch
from vipctl.services.change import Acceptance, Shape
from vipctl.services.service import Service

FLIPS = 20_000  # one in a hundred loses a packet where the length is not kept


@pytest.fixture
def vipctl(net: Lab, tmp_path: Path) -> Vipctl:
    """vipctl on the director."""
    return ByIptables(net.director, tmp_path / "state")


class Stream(threading.Thread):
    """Datagrams to a VIP from the client, without end and without loss on the way."""

    def __init__(self, client: Namespace, vip: str) -> None:
        super().__init__()
        with client:
            self.socket = socket.socket(family(vip), socket.SOCK_DGRAM)
        self.vip, self.sent, self.going = vip, 0, True

    def run(self) -> None:
        """Send until told to stop."""
        with self.socket:
            while self.going:
                self.socket.sendto(b"x", (self.vip, 9))
                self.sent += 1

    def __enter__(self) -> "Stream":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.going = False
        self.join()


@pytest.mark.parametrize("vip", VIPS)
def test_no_packet_is_lost_while_all_is_replaced(net: Lab, vipctl: Vipctl, vip: str) -> None:
    """A new set is swapped in; prefixes merge and split; services come and go, ports as well."""
    vipctl("add-range", *RANGES, "--fwmark", "17")
    foreign_prefix = {"203.0.113.77": "192.0.2.9", "2001:db8:1::77": "2001:db8:9::9"}[vip]
    name = "vipctl6" if ":" in vip else "vipctl4"
    wider = {"203.0.113.77": "203.0.112.0/24", "2001:db8:1::77": "2001:db8::/64"}[vip]
    with LocalInCounter(net.director) as counter:
        with Stream(net.client, vip) as stream:
            for _ in range(3):
                net.director.run(["ipset", "add", name, foreign_prefix])
                assert vipctl("restore")["changed"] is True
                vipctl("add-range", wider, "--fwmark", "17")
                vipctl("remove-range", wider)
                vipctl("add-range", wider, "--fwmark", "18", "--ping", "--port", "tcp/80")
                vipctl("remove-service", "fwmark-18")
        settle(net.client, counter)
        assert stream.sent > 1000
        assert counter.counts().get((17, vip)) == stream.sent


def test_a_service_that_changes_its_mark_loses_no_packet(net: Lab) -> None:
    """And each packet has one of its marks."""
    shape, start = Shape(4, 0, 24), ip_address(VIPS[0]).packed[:3] + b"\0"
    states: list[tuple[Acceptance, Batch]] = [
        (Acceptance((Service(f"fwmark-{mark}", mark),), frozenset({shape})), {(shape, mark): start})
        for mark in (17, 18, 0x1001, 17)
    ]
    with net.director:
        fwmark_iptables.load(*states[0])
    with LocalInCounter(net.director) as counter:
        with Stream(net.client, VIPS[0]) as stream, net.director:
            for (before, removed), (after, added) in pairwise(states):
                fwmark_iptables.apply(before, after, removed, added)
                sent = stream.sent
                wait_until(lambda: stream.sent > sent + 10, "packets meet it")  # noqa: B023
        settle(net.client, counter)
        got = {mark: n for (mark, dst), n in counter.counts().items() if dst == VIPS[0]}
        assert set(got) == {17, 18, 0x1001}
        assert sum(got.values()) == stream.sent


@pytest.mark.parametrize("vip", VIPS)
def test_a_prefix_length_that_goes_hides_no_other(net: Lab, vipctl: Vipctl, vip: str) -> None:
    """The kernel's lookup skips a length when a longer one vanishes: we let none vanish."""
    host, name = {
        "203.0.113.77": ("198.51.100.1", "vipctl4"),
        "2001:db8:1::77": ("2001:db8:2::1", "vipctl6"),
    }[vip]
    vipctl("add-range", *RANGES, host, "--fwmark", "17")
    vipctl("remove-range", host)
    changes = f"add {name} {host} skbmark 0x11/0xffffffff\ndel {name} {host}\n" * FLIPS
    with LocalInCounter(net.director) as counter:
        with Stream(net.client, vip) as stream:
            net.director.run(["ipset", "restore"], input=changes)
        settle(net.client, counter)
        assert stream.sent > 1000
        assert counter.counts().get((17, vip)) == stream.sent
    assert vipctl("restore")["changed"] is False


def test_kept_lengths_go_with_their_set(net: Lab, vipctl: Vipctl) -> None:
    """What is loaded anew has none."""
    vipctl("add-range", *RANGES, "198.51.100.1", "--fwmark", "17")
    vipctl("remove-range", "198.51.100.1")
    assert "add vipctl4 0.0.0.0 nomatch" in saved(net.director)
    net.director.run(["ipset", "add", "vipctl4", "192.0.2.9"])
    assert vipctl("restore")["changed"] is True
    assert "nomatch" not in saved(net.director)
