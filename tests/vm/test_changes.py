"""Changes of a service take effect in the kernel, and on its next client."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import Reply, tcp_get
from tests.vm.observe import ipvs, kernel_state, outcomes, tcp

VIP4, VIP6 = "203.0.113.7", "2001:db8:1::7"


@pytest.fixture
def web(vipctl: Vipctl) -> Vipctl:
    """One service of one VIP of each family and one real server, rr."""
    vipctl("add-range", VIP4, VIP6, "--service=web", "--real=10.0.1.11", "--scheduler=rr")
    return vipctl


def test_real_servers(net: Lab, web: Vipctl) -> None:
    assert tcp(net.client, [VIP4] * 3) == Counter(real1=3)
    web("add-real", "web", "10.0.1.12", "fd00:1::12")
    assert tcp(net.client, [VIP4] * 4) == Counter(real1=2, real2=2)
    assert tcp(net.client, [VIP6] * 2) == Counter(real2=2)
    web("set-service", "web", "--scheduler", "wrr")
    web("set-real", "web", "10.0.1.12,weight=3")
    assert tcp(net.client, [VIP4] * 8) == Counter(real1=2, real2=6)
    web("remove-real", "web", "10.0.1.11")
    assert tcp(net.client, [VIP4] * 3) == Counter(real2=3)
    assert ipvs(net.director) == {
        "-A -f 4096 -s wrr",
        "-a -f 4096 -r 10.0.1.12:0 -m -w 3",
        "-A -f 4096 -6 -s wrr",
        "-a -f 4096 -6 -r [fd00:1::12]:0 -m -w 1",
    }
    web("remove-real", "web", "fd00:1::12")
    assert not any(" -6 " in line for line in ipvs(net.director))
    assert outcomes(net.client, [VIP6], 80) == {VIP6: ("refused", "refused")}


def test_scheduler_forward_and_the_whole_list_of_real_servers(net: Lab, web: Vipctl) -> None:
    web("set-service", "web", "--scheduler", "wlc", "--forward", "dr")
    assert ipvs(net.director) == {"-A -f 4096 -s wlc", "-a -f 4096 -r 10.0.1.11:0 -g -w 1"}
    web("set-service", "web", "--forward", "tun")
    assert ipvs(net.director) == {
        "-A -f 4096 -s wlc",
        "-a -f 4096 -r 10.0.1.11:0 -i -w 1 --tun-type ipip",
    }
    web("set-service", "web", "--forward", "nat", "--real", "10.0.1.12:53,weight=5")
    assert ipvs(net.director) == {"-A -f 4096 -s wlc", "-a -f 4096 -r 10.0.1.12:53 -m -w 5"}
    assert tcp(net.client, [VIP4] * 2) == Counter(real2=2)


def test_ports(net: Lab, web: Vipctl) -> None:
    web("set-service", "web", "--port", "tcp/80", "--port", "udp/53")
    assert outcomes(net.client, [VIP4], 80)[VIP4][0] == "real1"
    assert outcomes(net.client, [VIP4], 53)[VIP4] == ("refused", "real1")
    web("set-service", "web", "--port", "all")
    assert outcomes(net.client, [VIP4], 53) == {VIP4: ("real1", "real1")}


@contextmanager
def _busy_client(net: Lab) -> Iterator[list[Reply]]:
    """A client that asks over and over; the list of its replies grows."""
    replies: list[Reply] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.2):
            replies.extend(tcp_get(net.client, vip, 80) for vip in (VIP4, VIP6))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield replies
    finally:
        done.set()
        thread.join()


def test_no_new_client_is_lost_while_things_change(net: Lab, web: Vipctl) -> None:
    web("add-real", "web", "10.0.1.12", "fd00:1::11", "fd00:1::12")
    with _busy_client(net) as replies:
        web("set-service", "web", "--fwmark=77", "--scheduler=wrr", "--port=tcp/80")
        web("set-real", "web", "10.0.1.12,weight=7", "fd00:1::12,weight=7")
        web("add-range", "203.0.113.0/24", "2001:db8:1::/64", "--service", "web")
        web("remove-range", "203.0.113.128/25", "2001:db8:1::f000/116", "--service", "web")
        web("drain-real", "web", "10.0.1.11", "fd00:1::11")
        web("add-range", "198.51.100.0/24", "--service=other", "--real=10.0.1.11")
    assert len(replies) > 10
    assert {reply.server for reply in replies} == {"real1", "real2"}
    assert {"-A -f 77 -s wrr", "-A -f 77 -6 -s wrr"} <= ipvs(net.director)


def test_check_and_diff_change_nothing(net: Lab, web: Vipctl) -> None:
    before = kernel_state(net.director), web.text("export")
    for words in (
        ["set-service", "web", "--scheduler=wrr", "--fwmark=77", "--forward=tun", "--set-sysctls"],
        ["drain-real", "web", "10.0.1.11"],
        ["remove-service", "web"],
        ["add-range", "198.51.100.0/24", "--service", "other", "--real", "10.0.1.12"],
    ):
        done = web("--check", "--diff", *words)
        assert done["changed"]
        assert done["diff"]["before"] != done["diff"]["after"]
    assert (kernel_state(net.director), web.text("export")) == before
