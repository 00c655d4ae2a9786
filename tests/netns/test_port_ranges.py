"""Ranges of ports, of each method: at their ends, inside, outside; ports that come and go."""

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import udp_send
from tests.netns.arrivals import settle
from tests.netns.route import BeforeIpvs

VIPS = ("203.0.113.77", "2001:db8:1::77")
INSIDE, OUTSIDE = (53, 9000, 9050, 9100), (52, 54, 8999, 9101)
METHODS = ["fwmark", "fwmark-iptables", "route"]


def taken(net: Lab, counter: BeforeIpvs, port: int) -> dict[str, int]:
    """Return the marks that datagrams to a port have before IPVS."""
    counter.reset()
    udp_send(net.client, list(VIPS), port)
    settle(net.client, counter)
    return {vip: mark for mark, vip in counter.counts() if vip in VIPS and mark}


@pytest.mark.parametrize("method", METHODS)
def test_at_both_ends(net: Lab, vipctl: Vipctl, method: str) -> None:
    counter = BeforeIpvs(net.director)
    ranges = "203.0.113.0/24", "2001:db8:1::/64"
    ports = "--port=9000-9100/udp", "--port=udp/domain", "--port=tcp"
    vipctl("add-range", *ranges, "--fwmark=17", *ports, "--method", method)
    assert vipctl("list-services")["services"]["fwmark-17"]["ports"] == [
        "tcp",
        "udp/53",
        "udp/9000-9100",
    ]
    for port in INSIDE:
        assert taken(net, counter, port) == dict.fromkeys(VIPS, 17), port
    for port in OUTSIDE:
        assert taken(net, counter, port) == {}, port
    counter.reset()
    assert vipctl("restore")["changed"] is False
    assert vipctl("add-port", "fwmark-17", "udp/9101", "udp/9050-9200")["changed"] is True
    assert vipctl("add-port", "fwmark-17", "udp/9101")["idle"] == "fwmark-17 takes these already"
    assert taken(net, counter, 9101) == dict.fromkeys(VIPS, 17)
    done = vipctl("remove-port", "fwmark-17", "udp/9101-65535", "udp/53")
    assert done["services"]["fwmark-17"]["ports"] == ["tcp", "udp/9000-9100"]
    for port in (53, 9101):
        assert taken(net, counter, port) == {}, port


@pytest.mark.parametrize("method", METHODS)
def test_services_share_vips_by_ranges(net: Lab, vipctl: Vipctl, method: str) -> None:
    counter = BeforeIpvs(net.director)
    for mark, port in ((17, "udp/1-999"), (18, "udp/1000-9999")):
        words = [f"--fwmark={mark}", f"--port={port}", f"--method={method}"]
        vipctl("add-range", "203.0.113.0/24", "2001:db8:1::/64", *words)
    assert taken(net, counter, 999) == dict.fromkeys(VIPS, 17)
    assert taken(net, counter, 1000) == dict.fromkeys(VIPS, 18)
    assert taken(net, counter, 10000) == {}
    code, error = vipctl.error("add-port", "fwmark-17", "udp/1000")
    assert (code, error["kind"]) == (3, "refused")


def test_what_neighbours_take_together_is_not_added(vipctl: Vipctl) -> None:
    ports = "--port=udp/10-20", "--port=udp/21-30"
    vipctl("add-range", "203.0.113.0/24", "--fwmark=17", *ports)
    assert vipctl("list-services")["services"]["fwmark-17"]["ports"] == ["udp/10-30"]
    assert vipctl("set-service", "fwmark-17", *ports)["changed"] is False
    assert vipctl("add-port", "fwmark-17", "udp/15-25")["changed"] is False
    done = vipctl("add-port", "fwmark-17", "udp/15-31")
    assert done["services"]["fwmark-17"]["ports"] == ["udp/10-31"]


def test_the_last_port_stays(vipctl: Vipctl) -> None:
    vipctl("add-range", "203.0.113.0/24", "--fwmark=17", "--port=tcp/80")
    code, error = vipctl.error("remove-port", "fwmark-17", "tcp")
    assert (code, error["kind"]) == (3, "refused")
    assert "no port left" in error["message"]
    done = vipctl("remove-port", "fwmark-17", "tcp/443")
    assert (done["changed"], done["idle"]) == (False, "fwmark-17 takes none of these")
    vipctl("set-service", "fwmark-17", "--port=all")
    assert vipctl("add-port", "fwmark-17", "tcp/80")["changed"] is False
    assert vipctl.error("remove-port", "fwmark-17", "tcp/80")[0] == 3
