"""The guard: the director's own sockets are not reachable through a VIP, and nothing is sent on."""

import pytest

from tests.harness.command import Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.harness.traffic import Outcome, tcp_get, udp_send
from tests.netns import foreign
from tests.netns.addresses import OWN, RANGES, VIPS
from tests.netns.arrivals import settle
from tests.netns.guard import (
    ARRANGEMENTS,
    PATIENCE,
    PATIENCE_WITH_ERRORS,
    REJECTED,
    Arrange,
    acceptance_only,
    outcomes,
)

pytestmark = pytest.mark.usefixtures("listeners")


@pytest.mark.parametrize("arrange", ARRANGEMENTS)
def test_own_sockets_are_reachable_at_own_addresses_only(
    net: Lab, vipctl: Vipctl, arrange: Arrange
) -> None:
    arrange(vipctl)
    assert outcomes(net.client, VIPS, PATIENCE_WITH_ERRORS) == REJECTED
    assert set(outcomes(net.client, OWN)) == {Outcome.ANSWERED}


@pytest.mark.parametrize("arrange", ARRANGEMENTS)
def test_dropping_is_silent(net: Lab, vipctl: Vipctl, arrange: Arrange) -> None:
    arrange(vipctl, "--leftover", "drop")
    assert set(outcomes(net.client, VIPS, PATIENCE)) == {Outcome.TIMEOUT}
    assert set(outcomes(net.client, OWN)) == {Outcome.ANSWERED}


@pytest.mark.parametrize("arrange", ARRANGEMENTS)
def test_nothing_for_a_vip_goes_back_to_the_router(
    net: Lab, vipctl: Vipctl, arrange: Arrange
) -> None:
    """The director's default route is where the packet came from, as on a network's edge."""
    net.director.ip("route add default via 10.0.0.2", "route add ::/0 via fd00::2")
    arrange(vipctl)
    with LocalInCounter(net.director) as counter:
        returned = f"ip daddr {RANGES[0]} counter", f"ip6 daddr {RANGES[1]} counter"
        foreign.hook(net.client, "returned", "prerouting priority 0", *returned)
        for port in (22, 53, 80, 9999):
            udp_send(net.client, list(VIPS), port)
            tcp_get(net.client, VIPS[0], port)
            tcp_get(net.client, VIPS[1], port)
        settle(net.client, counter)
        assert foreign.packets(net.client, "returned") == 0
        for name in vipctl("list-services")["services"]:
            vipctl("remove-service", name)
        udp_send(net.client, list(VIPS), 9)
        settle(net.client, counter)
        assert foreign.packets(net.client, "returned") >= 2, "without vipctl they would"


def test_what_ipvs_sent_to_the_director_itself_passes(net: Lab, vipctl: Vipctl) -> None:
    """IPVS leaves the mark on a packet whose destination it made a real server's."""
    acceptance_only(vipctl)
    own = "ip daddr 10.0.0.1", "ip6 daddr fd00::1"
    foreign.hook(
        net.director, "ipvs", "input priority 98", *(f"{match} meta mark set 17" for match in own)
    )
    assert set(outcomes(net.client, OWN)) == {Outcome.ANSWERED}
    assert Outcome.ANSWERED not in outcomes(net.client, VIPS, PATIENCE)
