"""Every forwarding method, both IP versions, every kind of traffic."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import execute
from tests.harness.traffic import tcp_post
from tests.vm.observe import answers, outcomes, tcp, udp

MEGABYTE = 1_000_000
EVENLY = Counter(real1=1, real2=1)
VIP4, VIP6 = "203.0.113.77", "2001:db8:1::77"
RETURNED = ("192.0.2.77", "2001:db8:3::77")
REALS = [f"--real={real}" for real in ("10.0.1.11", "10.0.1.12", "fd00:1::11", "fd00:1::12")]


def _assert_balanced(net: Lab, vipctl: Vipctl, forward: str, *vips: str) -> None:
    options = ["--scheduler=rr", f"--forward={forward}", "--set-sysctls"]
    assert not vipctl("add-range", *vips, "--service=web", *REALS, *options)["warnings"]
    for vip in vips:
        pair = [vip] * 2
        assert tcp(net.client, pair) == EVENLY
        uploads = [tcp_post(net.client, vip, 80, MEGABYTE, timeout=30) for vip in pair]
        assert answers(uploads) == EVENLY
        assert udp(net.client, pair) == EVENLY
        assert udp(net.client, pair, nbytes=4000) == EVENLY


def test_nat(net: Lab, vipctl: Vipctl) -> None:
    _assert_balanced(net, vipctl, "nat", VIP4, VIP6)


def test_dr(direct: Lab, vipctl_direct: Vipctl) -> None:
    _assert_balanced(direct, vipctl_direct, "dr", VIP4, VIP6)


def test_tun(direct: Lab, vipctl_direct: Vipctl) -> None:
    """IPv6 in IPv6 too, where the real servers take such tunnels."""
    execute(["modprobe", "ip6_tunnel"])
    for real in direct.reals:
        real.ip("link set ip6tnl0 up")
    _assert_balanced(direct, vipctl_direct, "tun", VIP4, VIP6)


@pytest.fixture
def _vips_behind_the_director(net: Lab) -> Iterator[None]:
    """The real servers of `net` own two more VIPs, and still answer through the director."""
    for real in net.reals:
        real.ip(*(f"route add local {vip} dev lo" for vip in RETURNED))
    yield
    for real in net.reals:
        real.ip(*(f"route del local {vip} dev lo" for vip in RETURNED))


@pytest.mark.usefixtures("_vips_behind_the_director")
def test_dr_with_answers_through_the_director(net: Lab, vipctl: Vipctl) -> None:
    _assert_balanced(net, vipctl, "dr", *RETURNED)


def test_nat_to_another_port(net: Lab, vipctl: Vipctl) -> None:
    vipctl(
        "add-range", VIP4, VIP6, "--service=web", "--real=10.0.1.11:53", "--real=[fd00:1::11]:53"
    )
    answered = ("real1", "real1")
    assert outcomes(net.client, [VIP4, VIP6], 8080) == {VIP4: answered, VIP6: answered}


def test_errors_of_real_servers_reach_the_client(net: Lab, vipctl: Vipctl) -> None:
    """Nobody serves port 81: with nat, the real servers' own refusals come back."""
    vipctl("add-range", VIP4, VIP6, "--service=web", *REALS)
    refused = ("refused", "refused")
    assert outcomes(net.client, [VIP4, VIP6], 81) == {VIP4: refused, VIP6: refused}
