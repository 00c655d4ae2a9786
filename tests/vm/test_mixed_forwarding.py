"""One service with real servers of several forwarding methods."""

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import execute
from tests.harness.traffic import tcp_get, udp_ask
from tests.vm.observe import ipvs

VIP4, VIP6 = "203.0.113.7", "2001:db8:1::7"
REALS = {VIP4: ("10.0.1.11", "10.0.1.12"), VIP6: ("fd00:1::11", "fd00:1::12")}


@pytest.fixture(scope="module", autouse=True)
def tunnels(direct: Lab) -> None:
    """Real servers take packets out of IPv6 tunnels too."""
    execute(["modprobe", "ip6_tunnel"])
    for real in direct.reals:
        real.ip("link set ip6tnl0 up")


@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_dr_and_tun(direct: Lab, vipctl_direct: Vipctl, vip: str) -> None:
    first, second = REALS[vip]
    options = ["--forward=dr", f"--real={first}", f"--real={second},forward=tun"]
    vipctl_direct("add-range", vip, "--service=web", "--scheduler=rr", "--set-sysctls", *options)
    assert _ways(direct) == ["-g", "-i"]
    for ask in (tcp_get, udp_ask):
        assert {ask(direct.client, vip, 80).server for _ in range(4)} == {"real1", "real2"}
    assert not vipctl_direct("restore")["changed"]
    vipctl_direct("set-real", "web", f"{second},weight=2")
    assert _ways(direct) == ["-g", "-i"]
    vipctl_direct("set-service", "web", "--forward=tun")
    assert _ways(direct) == ["-i", "-i"]
    vipctl_direct("set-real", "web", f"{second},forward=dr")
    assert _ways(direct) == ["-g", "-i"]
    assert {tcp_get(direct.client, vip, 80).server for _ in range(6)} == {"real1", "real2"}
    vipctl_direct("set-real", "web", f"{second},forward=service")
    assert _ways(direct) == ["-i", "-i"]


def _ways(net: Lab) -> list[str]:
    """How packets are forwarded to each real server, sorted."""
    found = (line.split() for line in ipvs(net.director) if line.startswith("-a"))
    return sorted(word for line in found for word in line if word in ("-g", "-i", "-m"))
