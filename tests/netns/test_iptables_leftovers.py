"""`fwmark-iptables`: what commands that were killed leave behind."""

import pytest

from tests.netns.damage import fwmark_iptables
from tests.netns.drift import Drift


@pytest.mark.parametrize("drift", [fwmark_iptables.CASE], indirect=True)
def test_what_killed_commands_leave_behind_goes(drift: Drift) -> None:
    before = drift.look()
    drift.damage("ipset create vipctl4_new hash:ip; ipset create vipctl4_p5 hash:net")
    assert drift.vipctl("restore")["changed"] is True
    drift.assert_whole(before)
