"""Power off: of vipctl, and of keepalived alone. `make bench-takeover` times it."""

import pytest

from tests.failover.pairs import KEEPALIVED, VIPCTL, Kind, pair
from tests.failover.site import Site


@pytest.mark.parametrize("kind", [VIPCTL, KEEPALIVED], ids=["vipctl", "keepalived alone"])
def test_power_off_costs_one_gap(here: Site, kind: Kind) -> None:
    with pair(kind, here) as site:
        lost, later = site.power_off(), site.power_on()
    print(lost, later)
    for numbers in lost.values():
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert kind is KEEPALIVED or not any(later.values())
