"""Method `route` while the interface that its routes lead to is down."""

import pytest

from tests.netns.damage import route
from tests.netns.drift import Drift


@pytest.mark.parametrize("drift", [route.CASE], indirect=True)
def test_lo_is_down(drift: Drift) -> None:
    """IPv6 routes cannot be had then, not even the way back; all is there when it is up again."""
    director, vipctl = drift.net.director, drift.vipctl
    before, exported = drift.look(), vipctl("export")
    director.ip("link set lo down")
    for _ in range(2):
        words = ["add-range", "198.18.0.0/24", "2001:db8:2::/64", "--fwmark", "17"]
        code, error = vipctl.error(*words)
        assert (code, error["kind"]) == (4, "kernel")
        assert "Network is down" in error["message"]
        assert "lo" in error["hint"]
        assert vipctl("export") == exported
    director.ip("link set lo up")
    assert vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")["restored"] is True
    drift.assert_whole(before)
