"""Clients that stay on their real server."""

import socket
from collections import Counter

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import CLIENT_SOURCES_4, CLIENT_SOURCES_6, Lab, family
from tests.harness.traffic import tcp_get, udp_ask
from tests.vm.observe import ipvs, is_ipv6

VIPS = ("203.0.113.7", "203.0.113.99", "2001:db8:1::7", "2001:db8:1::99")
REALS = [f"--real={real}" for real in ("10.0.1.11", "10.0.1.12", "fd00:1::11", "fd00:1::12")]
FALLBACK_AND_PORT = "-b sh-fallback,sh-port"


def _servers(net: Lab, source: str) -> set[str]:
    """Return who answers a client over both protocols, at two VIPs of the service."""
    vips = [vip for vip in VIPS if is_ipv6(vip) == is_ipv6(source)]
    asked = [ask(net.client, vip, 80, source=source) for vip in vips for ask in (tcp_get, udp_ask)]
    return {reply.server for reply in asked}


def test_persistence_keeps_each_client_on_one_server(net: Lab, vipctl: Vipctl) -> None:
    options = ["--persistence=300", "--scheduler=rr", "--set-sysctls"]
    vipctl("add-range", *VIPS, "--service=web", *REALS, *options)
    assert {"-A -f 4096 -s rr -p 300", "-A -f 4096 -6 -s rr -p 300"} <= ipvs(net.director)
    for sources in (CLIENT_SOURCES_4, CLIENT_SOURCES_6):
        servers = [_servers(net, source) for source in sources]
        assert all(len(found) == 1 for found in servers)
        assert Counter(server for found in servers for server in found) == {"real1": 4, "real2": 4}


def test_persistence_and_flags_of_the_scheduler(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *VIPS, "--service=web", *REALS, "--scheduler=sh,port,fallback")
    services = {f"-A -f 4096{family} -s sh {FALLBACK_AND_PORT}" for family in ("", " -6")}
    assert services <= ipvs(net.director)
    for words, service in (
        (["--scheduler=mh,fallback"], "-A -f 4096 -s mh -b mh-fallback"),
        (["--persistence=100"], "-A -f 4096 -s mh -p 100 -b mh-fallback"),
        (["--persistence=0", "--scheduler=sh"], "-A -f 4096 -s sh"),
    ):
        vipctl("set-service", "web", *words)
        assert service in ipvs(net.director)
    assert all(len(_servers(net, source)) == 1 for source in CLIENT_SOURCES_4[:3])


def test_neighbours_stay_together(net: Lab, vipctl: Vipctl) -> None:
    options = ["--persistence=300,mask=24,mask6=64", "--scheduler=rr", "--set-sysctls"]
    vipctl("add-range", *VIPS, "--service=web", *REALS, *options)
    masked = {"-A -f 4096 -s rr -p 300 -M 255.255.255.0", "-A -f 4096 -6 -s rr -p 300 -M 64"}
    assert masked <= ipvs(net.director)
    for sources in (CLIENT_SOURCES_4, CLIENT_SOURCES_6):
        assert len(set().union(*(_servers(net, source) for source in sources))) == 1
    assert not vipctl("restore")["changed"]
    vipctl("set-service", "web", "--scheduler=wrr")
    assert "-A -f 4096 -s wrr -p 300 -M 255.255.255.0" in ipvs(net.director)
    vipctl("set-service", "web", "--persistence=300")
    assert {"-A -f 4096 -s wrr -p 300", "-A -f 4096 -6 -s wrr -p 300"} <= ipvs(net.director)


@pytest.mark.parametrize("source", [CLIENT_SOURCES_4[0], CLIENT_SOURCES_6[0]])
def test_calls_of_sip_stay_on_their_server(net: Lab, vipctl: Vipctl, source: str) -> None:
    options = ["--persistence=300,pe=sip", "--scheduler=rr", "--set-sysctls"]
    vipctl("add-range", *VIPS, "--service=sip", *REALS, *options)
    assert any("-p 300 --pe sip" in line for line in ipvs(net.director)), ipvs(net.director)
    first = [_called(net, source, call) for call in "abcd"]
    assert set(first) == {"real1", "real2"}
    assert [_called(net, source, call) for call in "dcba"] == first[::-1]
    assert not vipctl("restore")["changed"]
    vipctl("set-service", "sip", "--persistence=300")
    assert "-A -f 4096 -s rr -p 300" in ipvs(net.director)


def _called(net: Lab, source: str, call: str) -> str:
    """Who answers a message of a call, from a port of its own."""
    vip = next(vip for vip in VIPS if is_ipv6(vip) == is_ipv6(source))
    with net.client, socket.socket(family(vip), socket.SOCK_DGRAM) as caller:
        caller.settimeout(5)
        caller.bind((source, 0))
        caller.sendto(f"OPTIONS sip:web SIP/2.0\r\nCall-ID: {call}@x\r\n\r\n".encode(), (vip, 80))
        return caller.recv(1000).split()[0].decode()
