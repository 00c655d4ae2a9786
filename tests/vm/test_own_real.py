"""A real server on the director itself, for nat, by every method that IPVS is behind."""

from collections.abc import Iterator

import pytest

from tests.harness import module
from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import Reply, tcp_get, tcp_post, udp_ask
from tests.vm.observe import SHORT

VIP4, VIP6 = "203.0.113.7", "2001:db8:1::7"
OWN = ["--real=10.0.1.1", "--real=fd00:1::1"]
CONNTRACK = "net.ipv4.vs.conntrack"
UPLOAD = 1 << 18


@pytest.fixture(scope="module", autouse=True)
def _module() -> Iterator[None]:
    with module.loaded():
        yield


@pytest.mark.parametrize("method", ["fwmark", "shim", "route", "fwmark-iptables"])
def test_it_answers_clients_and_other_real_servers(net: Lab, vipctl: Vipctl, method: str) -> None:
    vipctl("add-range", VIP4, VIP6, "--service=web", f"--method={method}", *OWN)
    found: list[Reply] = []
    for tracked in ("1", "0"):
        net.director.sysctl(CONNTRACK, tracked)
        for vip in (VIP4, VIP6):
            found += [udp_ask(host, vip, 53, 4000) for host in (net.client, net.reals[0])]
            found += [tcp_post(host, vip, 53, UPLOAD) for host in (net.client, net.reals[0])]
    assert [reply.server for reply in found] == ["director"] * 16
    assert net.client4 in {reply.peer for reply in found}
    assert not tcp_get(net.director, VIP4, 53, timeout=SHORT).answered  # IPVS does not route it
    vipctl("set-service", "web", "--source-nat=auto")
    assert {tcp_get(net.client, vip, 53).server for vip in (VIP4, VIP6)} == {"director"}
