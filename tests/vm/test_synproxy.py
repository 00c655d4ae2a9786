"""SYNPROXY on the director itself: its handshake with the real server begins in LOCAL_OUT."""

from collections.abc import Iterator

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.vm.observe import tcp

VIPS = ("203.0.113.7", "2001:db8:1::7")
LOOSE = "net.netfilter.nf_conntrack_tcp_loose"
RULES = """
table inet synproxied {
    chain raw {
        type filter hook prerouting priority raw;
        tcp dport 80 tcp flags & (fin | syn | rst | ack) == syn notrack
    }
    chain input {
        type filter hook input priority 0;
        tcp dport 80 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm
        tcp dport 80 ct state invalid drop
    }
}
"""


@pytest.fixture
def synproxy(net: Lab) -> Iterator[None]:
    """As nft(8) has it; the director has a way to everywhere."""
    gateways = ("default via 10.0.0.2", "::/0 via fd00::2")
    net.director.ip(*(f"route add {gateway}" for gateway in gateways))
    net.director.run(["nft", "-f", "-"], input=RULES)
    before = net.director.sysctl(LOOSE)
    net.director.sysctl(LOOSE, 0)
    yield
    net.director.sysctl(LOOSE, before)
    net.director.run(["nft", "delete", "table", "inet", "synproxied"])
    net.director.ip(*(f"route del {gateway}" for gateway in gateways))


@pytest.mark.parametrize("method", ["fwmark", "fwmark-iptables", "route"])
def test_synproxy(net: Lab, vipctl: Vipctl, synproxy: None, method: str) -> None:
    reals = ("--real=10.0.1.11", "--real=fd00:1::11", "--set-sysctls")
    vipctl("add-range", *VIPS, "--service=web", *reals, "--method", method)
    assert tcp(net.client, VIPS) == {"real1": 2}
