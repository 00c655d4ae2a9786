"""The `route` method: VIPs are local, yet the director's own sockets are not reachable there."""

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import TIME_LIMIT, Outcome
from tests.netns.addresses import OWN, VIPS
from tests.netns.guard import ARRANGEMENTS, PATIENCE, Arrange, acceptance_only, outcomes
from tests.netns.route import ROUTE

pytestmark = pytest.mark.usefixtures("listeners")


@pytest.mark.parametrize("arrange", ARRANGEMENTS)
def test_own_sockets_are_reachable_at_own_addresses_only(
    net: Lab, vipctl: Vipctl, arrange: Arrange
) -> None:
    """VIPs are local, so that every refusal has an address to be sent from."""
    for leftover, outcome, patience in (
        ("reject", Outcome.REFUSED, TIME_LIMIT),
        ("drop", Outcome.TIMEOUT, PATIENCE),
    ):
        arrange(vipctl, *ROUTE, "--leftover", leftover)
        assert set(outcomes(net.client, VIPS, patience)) == {outcome}
        assert set(outcomes(net.client, OWN)) == {Outcome.ANSWERED}
        assert Outcome.ANSWERED not in outcomes(net.director, VIPS, PATIENCE), (
            "nor from the director itself"
        )
        for name in vipctl("list-services")["services"]:
            vipctl("remove-service", name)


def test_without_the_guard_they_would_be(net: Lab, vipctl: Vipctl) -> None:
    """What the tests above rely on: routes alone make every VIP the director's own."""
    acceptance_only(vipctl, *ROUTE)
    net.director.run(["nft", "delete", "table", "inet", "vipctl_route"])
    assert set(outcomes(net.client, VIPS)) == {Outcome.ANSWERED}
