"""What firewalld and NetworkManager take away is put back by `vipctl watch`, and nobody fights."""

from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.daemons import daemons
from tests.harness.lab import lab
from tests.harness.waiting import wait_until
from tests.netns.addresses import RANGES, VIPS
from tests.netns.arrivals import accepted
from tests.netns.kills import is_whole
from tests.netns.route import BeforeIpvs
from tests.netns.test_watch import watching

PATIENCE = 60.0


@pytest.mark.parametrize(
    ("method", "backend"),
    [("fwmark", "nftables"), ("route", "nftables"), ("fwmark-iptables", "iptables")],
)
def test_beside_firewalld_and_network_manager(tmp_path: Path, method: str, backend: str) -> None:
    with lab(reals=0) as net, daemons(net.director) as others:
        vipctl = Vipctl(net.director, tmp_path / "state")
        vipctl("add-range", *RANGES, "--fwmark", "17", "--method", method)
        with watching(vipctl, tmp_path / "log", limit=PATIENCE) as daemon:
            acts = [lambda: others.firewalld(backend), others.reload]
            acts += [others.network_manager, others.network_manager]
            for act in acts:
                act()
                wait_until(lambda: is_whole(vipctl), "all is as stored", PATIENCE)
                with BeforeIpvs(net.director) as counter:
                    assert accepted(net, counter, VIPS) == dict.fromkeys(VIPS, 17), daemon.said()
            assert [line for line in daemon.said() if "put back" in line], "nothing was taken away"
            assert not [line for line in daemon.said() if "again and again" in line]
