"""The `route` method: whatever a director does about sources, VIPs are accepted, forgeries not."""

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.waiting import wait_until
from tests.netns.addresses import RANGES, VIPS
from tests.netns.arrivals import accepted, settle
from tests.netns.packets import transmit, udp
from tests.netns.route import ROUTE, BeforeIpvs

FORGED = {
    "203.0.113.77": ("224.0.0.5", "255.255.255.255", "127.0.0.1", "0.0.0.0", "10.0.0.1"),
    "2001:db8:1::77": ("ff02::1", "ff0e::1", "::1"),
}


def _validate(net: Lab, rp_filter: int, src_valid_mark: int) -> None:
    for device in ("all", "eth0", "eth1"):
        net.director.sysctl(f"net.ipv4.conf.{device}.rp_filter", rp_filter)
        net.director.sysctl(f"net.ipv4.conf.{device}.src_valid_mark", src_valid_mark)


@pytest.mark.parametrize("rp_filter", [0, 1, 2])
def test_whatever_a_director_does_about_sources(
    net: Lab, vipctl: Vipctl, before_ipvs: BeforeIpvs, rp_filter: int
) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", *ROUTE)
    vipctl("add-range", "198.51.100.0/24", "--fwmark", str(0x1000), *ROUTE)
    wanted = dict.fromkeys(VIPS, 17) | {"198.51.100.77": 0x1000}
    forged = [udp(source, vip) for vip, sources in FORGED.items() for source in sources]
    for src_valid_mark in (0, 1):
        _validate(net, rp_filter, src_valid_mark)
        assert accepted(net, before_ipvs, wanted) == wanted
        before_ipvs.reset()
        transmit(net.client, net.director, *forged)
        settle(net.client, before_ipvs)
        assert not {dst for _, dst in before_ipvs.counts()} & {*VIPS}
        elsewhere = udp(net.client4, VIPS[0]), udp("10.0.1.254", "198.51.100.77")
        transmit(net.client, net.director, *elsewhere, device="eth1")
        wait_until(lambda: before_ipvs.count(0x1000, "198.51.100.77") == 1, "eth1's own is counted")
        assert before_ipvs.count(17, VIPS[0]) == (rp_filter != 1), "strict: not by that interface"
