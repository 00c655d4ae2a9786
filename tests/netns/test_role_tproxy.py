"""A passive director with method tproxy: its proxy gets nothing new, and it answers nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns import haproxy
from tests.netns.addresses import OTHER_RANGES, OTHERS, RANGES, VIPS
from tests.netns.haproxy import KEEPING
from tests.netns.pings import answering
from tests.netns.wire import comes_back

BOTH = [*VIPS, *OTHERS]


@pytest.fixture
def vipctl(balanced: Lab, tmp_path: Path) -> Iterator[Vipctl]:
    """Two services, whose proxy asks servers from the client's address; they go afterwards."""
    with haproxy.cleared(balanced.director, tmp_path) as command:
        for name, ranges in (("a", RANGES), ("b", OTHER_RANGES)):
            words = ["--service", name, "--method", "tproxy", "--to-port", str(KEEPING)]
            command("add-range", *ranges, *words, "--ping")
        yield command
        command("activate")


def assert_proxied(net: Lab, vips: list[str]) -> None:
    """These, of all VIPs, have the proxy behind them; of others nothing comes back."""
    assert answering(net, BOTH) == {*vips}
    assert comes_back(net, BOTH) == {*vips}
    for vip in vips:
        assert haproxy.ask(net.client, vip).vip == f"{vip}:80"


def test_a_passive_director_is_silent(balanced: Lab, vipctl: Vipctl) -> None:
    assert_proxied(balanced, BOTH)
    vipctl("deactivate")
    assert_proxied(balanced, [])
    balanced.director.run(["nft", "delete", "table", "inet", "vipctl_tproxy"])
    assert vipctl("restore")["restored"] is True
    assert_proxied(balanced, [])
    vipctl("activate")
    assert_proxied(balanced, BOTH)


def test_a_passive_service_is_silent(balanced: Lab, vipctl: Vipctl) -> None:
    """Of the first one, with whose mark servers' answers to the proxy of all are accepted."""
    vipctl("deactivate", "--service", "a")
    assert_proxied(balanced, [*OTHERS])
    vipctl("activate", "--service", "a")
    assert_proxied(balanced, BOTH)
