"""`fwmark-iptables`: what the director itself has and answers is not reachable through a VIP."""

import socket
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab, family
from tests.harness.traffic import Outcome, tcp_get, udp_send
from tests.netns.addresses import OWN, RANGES, VIPS
from tests.netns.arrivals import settle
from tests.netns.guard import (
    PATIENCE,
    PATIENCE_WITH_ERRORS,
    REJECTED,
    Arrange,
    outcomes,
    with_ports,
    without_real_servers,
)
from tests.netns.iptables import ByIptables


@pytest.fixture
def vipctl(net: Lab, tmp_path: Path) -> Vipctl:
    """vipctl on the director."""
    return ByIptables(net.director, tmp_path / "state")


def _shared(vipctl: Vipctl, *options: str) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", "--port", "tcp/80", *options)
    vipctl("add-range", *RANGES, "--fwmark", "18", "--port", "udp/80", *options)


ARRANGEMENTS = [with_ports, without_real_servers, _shared]


@pytest.mark.usefixtures("listeners")
@pytest.mark.parametrize("arrange", ARRANGEMENTS)
def test_own_sockets_are_not_reachable_where_ipvs_has_nothing(
    net: Lab, vipctl: Vipctl, arrange: Arrange
) -> None:
    arrange(vipctl)
    assert outcomes(net.client, VIPS, PATIENCE_WITH_ERRORS) == REJECTED
    assert set(outcomes(net.client, OWN)) == {Outcome.ANSWERED}


@pytest.mark.usefixtures("listeners")
@pytest.mark.parametrize("arrange", ARRANGEMENTS)
def test_dropping_is_silent(net: Lab, vipctl: Vipctl, arrange: Arrange) -> None:
    arrange(vipctl, "--leftover", "drop")
    assert set(outcomes(net.client, VIPS, PATIENCE)) == {Outcome.TIMEOUT}
    assert set(outcomes(net.client, OWN)) == {Outcome.ANSWERED}


@pytest.mark.usefixtures("listeners")
def test_what_is_exposed_while_the_ipvs_service_is_missing(net: Lab, vipctl: Vipctl) -> None:
    """As the module's docstring says: UDP sockets bound to no address get it; nobody answers."""
    vipctl("add-range", *RANGES, "--fwmark", "17")
    for vip in VIPS:
        with net.director, socket.socket(family(vip), socket.SOCK_DGRAM) as exposed:
            exposed.bind(("", 5353))
            exposed.settimeout(PATIENCE)
            udp_send(net.client, [vip], 5353, nbytes=7)
            assert len(exposed.recv(100)) == 7
    assert set(outcomes(net.client, VIPS, PATIENCE)) == {Outcome.TIMEOUT}
    assert tcp_get(net.client, VIPS[1], 23).outcome is Outcome.REFUSED, "a reset leaves"
    assert set(outcomes(net.client, OWN)) == {Outcome.ANSWERED}


def test_protocols_that_ipvs_does_not_know_are_refused(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    with LocalInCounter(net.director) as counter:
        for protocol, passes in ((47, 0), (4, 0), (50, 1), (132, 1)):
            counter.reset()
            for vip in VIPS:
                with net.client, socket.socket(family(vip), socket.SOCK_RAW, protocol) as raw:
                    raw.sendto(bytes(32), (vip, 0))
            settle(net.client, counter)
            assert [counter.count(17, vip) for vip in VIPS] == [passes] * 2, protocol


def test_of_icmp_only_errors_pass(net: Lab, vipctl: Vipctl) -> None:
    """IPVS takes nothing else of it, and the director would answer."""
    vipctl("add-range", *RANGES, "--fwmark", "17")
    with LocalInCounter(net.director) as counter:
        for vip in VIPS:
            net.client.run(["ping", "-c1", "-W0.1", vip], check=False)
        settle(net.client, counter)
        assert [counter.count(17, vip) for vip in VIPS] == [0, 0]
