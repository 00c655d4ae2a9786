"""Whatever a director does about sources, its VIPs are accepted, and forged sources are not."""

import pytest

from tests.harness.command import Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.harness.waiting import wait_until
from tests.netns.arrivals import accepted, settle
from tests.netns.packets import transmit, udp

VIPS = {"203.0.113.77": 17, "2001:db8:1::77": 17}
OWN_MARK = {"203.0.113.78": 0x1000, "2001:db8:1::78": 0x1000}  # of vipctl's block
FORGED = {
    "203.0.113.77": [
        *("224.0.0.5", "255.255.255.255", "127.0.0.1", "0.0.0.0"),
        *("10.0.0.1", "10.0.1.1"),  # the director's own
        *("10.0.0.255", "10.0.1.255"),
    ],
    "2001:db8:1::77": ["ff02::1", "ff0e::1", "::1"],
}


def _accept(vipctl: Vipctl) -> None:
    vipctl("add-range", *VIPS, "--fwmark", "17")
    vipctl("add-range", *OWN_MARK, "--fwmark", str(0x1000))


def _validate(net: Lab, rp_filter: int, device: str, src_valid_mark: int) -> None:
    for name in ("all", "eth0", "eth1"):
        net.director.sysctl(f"net.ipv4.conf.{name}.rp_filter", 0)
        net.director.sysctl(f"net.ipv4.conf.{name}.src_valid_mark", 0)
    net.director.sysctl(f"net.ipv4.conf.{device}.rp_filter", rp_filter)
    net.director.sysctl(f"net.ipv4.conf.{device}.src_valid_mark", src_valid_mark)


@pytest.mark.parametrize("rp_filter", [0, 1, 2])
@pytest.mark.parametrize("src_valid_mark", [0, 1])
def test_vips_are_accepted(net: Lab, vipctl: Vipctl, rp_filter: int, src_valid_mark: int) -> None:
    _accept(vipctl)
    with LocalInCounter(net.director) as counter:
        for device in ("all", "eth0"):
            _validate(net, rp_filter, device, src_valid_mark)
            assert accepted(net, counter, VIPS | OWN_MARK) == VIPS | OWN_MARK, device


@pytest.mark.parametrize("rp_filter", [0, 1, 2])
@pytest.mark.parametrize("src_valid_mark", [0, 1])
def test_forged_sources_are_not(
    net: Lab, vipctl: Vipctl, rp_filter: int, src_valid_mark: int
) -> None:
    _accept(vipctl)
    _validate(net, rp_filter, "all", src_valid_mark)
    forged = [udp(source, vip) for vip, sources in FORGED.items() for source in sources]
    with LocalInCounter(net.director) as counter:
        transmit(net.client, net.director, *forged)
        settle(net.client, counter)
        assert not [vip for _, vip in counter.counts() if vip in VIPS]


@pytest.mark.parametrize(("rp_filter", "passes"), [(0, True), (1, False), (2, True)])
@pytest.mark.parametrize("src_valid_mark", [0, 1])
def test_only_strict_filtering_minds_the_interface(
    net: Lab, vipctl: Vipctl, rp_filter: int, passes: bool, src_valid_mark: int
) -> None:
    """The client's address is behind eth0; here its packet comes by eth1, before one of eth1's."""
    _accept(vipctl)
    _validate(net, rp_filter, "all", src_valid_mark)
    with LocalInCounter(net.director) as counter:
        packets = udp(net.client4, "203.0.113.77"), udp("10.0.1.254", "203.0.113.78")
        transmit(net.client, net.director, *packets, device="eth1")
        wait_until(lambda: counter.count(0x1000, "203.0.113.78") == 1, "eth1's own is counted")
        assert counter.count(17, "203.0.113.77") == passes


@pytest.mark.parametrize(("rp_filter", "passes"), [(0, True), (1, False), (2, False)])
def test_sources_without_a_route_are_refused_by_any_filtering(
    net: Lab, vipctl: Vipctl, rp_filter: int, passes: bool
) -> None:
    _accept(vipctl)
    _validate(net, rp_filter, "all", 1)
    with LocalInCounter(net.director) as counter:
        transmit(net.client, net.director, udp("192.0.2.9", "203.0.113.77"))
        settle(net.client, counter)
        assert counter.count(17, "203.0.113.77") == passes
