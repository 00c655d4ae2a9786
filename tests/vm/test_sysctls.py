"""Sysctls that a service needs: named; set only with --set-sysctls; put back in the end."""

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.harness.traffic import Connection
from tests.vm.observe import NODEST, SHORT, tcp

VIP4, VIP6 = "203.0.113.7", "2001:db8:1::7"
PMTU_DISC = "net.ipv4.vs.pmtu_disc"
EXPIRY = "net.ipv4.vs.expire_quiescent_template"
CONNTRACK = "net.ipv4.vs.conntrack"
FORWARD4, FORWARD6 = "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"
BOTH = ["--real=10.0.1.11", "--real=fd00:1::11"]
FIREWALL = """
table inet firewall {
    chain input { type filter hook input priority 0; ct state invalid drop; }
    chain forward { type filter hook forward priority 0; ct state invalid drop; }
}
"""


@pytest.fixture
def unprepared(net: Lab, vipctl: Vipctl) -> Iterator[Vipctl]:
    """A director that forwards nothing, as a machine does by default."""
    for key in (FORWARD4, FORWARD6):
        net.director.sysctl(key, 0)
    yield vipctl
    after = [net.director.sysctl(key) for key in (FORWARD4, FORWARD6)]
    for key in (FORWARD4, FORWARD6):
        net.director.sysctl(key, 1)
    assert after == ["0", "0"]


def _named(texts: list[str]) -> set[str]:
    every = (PMTU_DISC, EXPIRY, CONNTRACK, FORWARD4, FORWARD6, NODEST)
    return {key for key in every if any(key in text for text in texts)}


def test_unmet_ones_are_named(net: Lab, unprepared: Vipctl) -> None:
    words = ["add-range", VIP4, VIP6, "--service=web", *BOTH, "--persistence=60"]
    done = unprepared(*words)
    wanted = {FORWARD4, FORWARD6, EXPIRY, NODEST}
    assert _named(done["warnings"]) == wanted
    assert all("--set-sysctls" in text for text in done["warnings"])
    assert {key: net.director.sysctl(key) for key in wanted} == dict.fromkeys(wanted, "0")
    shown = unprepared("status")["sysctls"]
    assert all(shown[key] == {"value": "0", "needed": "1", "ok": False} for key in wanted)
    text = unprepared.text("status").stdout
    assert all(f"sysctl {key} is 0, should be 1" in text for key in wanted)
    unprepared("remove-service", "web")


def test_set_and_put_back(net: Lab, unprepared: Vipctl) -> None:
    words = ["add-range", VIP4, VIP6, "--service=web", *BOTH, "--persistence=60", "--set-sysctls"]
    assert not unprepared(*words)["warnings"]
    assert [net.director.sysctl(key) for key in (FORWARD4, FORWARD6, EXPIRY, NODEST)] == ["1"] * 4
    assert tcp(net.client, [VIP4, VIP6]) == Counter(real1=2)
    unprepared("set-service", "web", "--persistence=0")
    assert net.director.sysctl(EXPIRY) == "0"
    unprepared("remove-real", "web", "fd00:1::11")
    assert net.director.sysctl(FORWARD6) == "0"
    unprepared("add-range", "198.51.100.7", "--service=tun", "--real=10.0.1.12", "--forward=tun")
    assert net.director.sysctl(PMTU_DISC) == "1"
    unprepared("set-service", "tun", "--set-sysctls")
    assert net.director.sysctl(PMTU_DISC) == "0"
    net.director.sysctl(FORWARD4, 0)
    assert unprepared("add-range", VIP4, "--service=web")["restored"]
    assert net.director.sysctl(FORWARD4) == "1"
    unprepared("remove-service", "tun")
    assert net.director.sysctl(PMTU_DISC) == "1"
    unprepared("remove-service", "web")


def test_a_value_that_somebody_else_wants_stays(net: Lab, vipctl: Vipctl) -> None:
    """Set already when the service came: not vipctl's to take away."""
    net.director.sysctl(EXPIRY, 1)
    try:
        words = ["add-range", VIP4, "--service=web", "--real=10.0.1.11", "--persistence=60"]
        vipctl(*words, "--set-sysctls")
        vipctl("remove-service", "web")
        assert net.director.sysctl(EXPIRY) == "1"
    finally:
        net.director.sysctl(EXPIRY, 0)


@contextmanager
def _firewall(director: Namespace) -> Iterator[None]:
    director.run(["nft", "-f", "-"], input=FIREWALL)
    yield
    director.run(["nft", "delete", "table", "inet", "firewall"])


def test_a_firewall_that_drops_what_is_invalid(net: Lab, vipctl: Vipctl) -> None:
    with _firewall(net.director):
        assert tcp(net.client, ["10.0.1.11"]) == Counter(real1=1)
        vipctl("add-range", VIP4, VIP6, "--service=web", *BOTH, "--set-sysctls")
        assert net.director.sysctl(CONNTRACK) == "1"
        assert tcp(net.client, [VIP4, VIP6] * 2) == Counter(real1=4)


@contextmanager
def _udp(client: Namespace, vip: str) -> Iterator[socket.socket]:
    """A client that keeps its port, as DNS, SIP and VPNs do."""
    with client:
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with asking:
        asking.settimeout(SHORT)
        asking.connect((vip, 80))
        yield asking


def _answering(asking: socket.socket) -> str:
    asking.send(b"")
    return asking.recv(100).decode().split()[0]


def test_connections_of_a_real_server_that_is_gone_hang(net: Lab, vipctl: Vipctl) -> None:
    """By the kernel's default, for up to a quarter of an hour: why there is a warning."""
    done = vipctl("add-range", VIP4, "--service=web", "--real=10.0.1.11", "--scheduler=rr")
    assert _named(done["warnings"]) == {NODEST}
    with (
        Connection(net.client, VIP4, 80, timeout=SHORT) as tcp_client,
        _udp(net.client, VIP4) as udp_client,
    ):
        assert (tcp_client.ask().server, _answering(udp_client)) == ("real1", "real1")
        vipctl("add-real", "web", "10.0.1.12")
        vipctl("remove-real", "web", "10.0.1.11")
        with pytest.raises(TimeoutError):
            tcp_client.ask()
        with pytest.raises(TimeoutError):
            _answering(udp_client)


def test_connections_of_a_real_server_that_is_gone_end(net: Lab, vipctl: Vipctl) -> None:
    options = ("--scheduler=rr", "--set-sysctls")
    assert not vipctl("add-range", VIP4, "--service=web", "--real=10.0.1.11", *options)["warnings"]
    with Connection(net.client, VIP4, 80) as tcp_client, _udp(net.client, VIP4) as udp_client:
        assert (tcp_client.ask().server, _answering(udp_client)) == ("real1", "real1")
        vipctl("add-real", "web", "10.0.1.12")
        vipctl("remove-real", "web", "10.0.1.11")
        with pytest.raises(ConnectionResetError):
            tcp_client.ask()
        assert _answering(udp_client) == "real2"
    vipctl("remove-service", "web")
    assert net.director.sysctl(NODEST) == "0"
