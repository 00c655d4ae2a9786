"""One-packet scheduling: each datagram is balanced by itself, also those of one client's port."""

import socket

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab, family
from tests.vm.observe import ipvs

VIP4, VIP6 = "203.0.113.7", "2001:db8:1::7"
REALS = {VIP4: ("10.0.1.11", "10.0.1.12"), VIP6: ("fd00:1::11", "fd00:1::12")}


@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_datagrams_of_one_port_go_to_all_servers(
    direct: Lab, vipctl_direct: Vipctl, vip: str
) -> None:
    options = [f"--real={real}" for real in REALS[vip]] + ["--forward=dr"]
    vipctl_direct("add-range", vip, "--service=dns", "--scheduler=rr", *options)
    assert len(_servers(direct, vip)) == 1
    vipctl_direct("set-service", "dns", "--scheduler=rr,ops")
    assert any("-o" in line.split() for line in ipvs(direct.director))
    assert _servers(direct, vip) == {"real1", "real2"}


def _servers(net: Lab, vip: str) -> set[str]:
    """Who answers four datagrams from one port."""
    with net.client, socket.socket(family(vip), socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        asking.connect((vip, 80))
        return {_server(asking) for _ in range(4)}


def _server(asking: socket.socket) -> str:
    asking.send(b"who")
    return asking.recv(1000).split()[0].decode()
