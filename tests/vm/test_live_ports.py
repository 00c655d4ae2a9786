"""A port that is taken from a service: open connections go on, new ones are refused."""

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import Connection, Outcome, tcp_get

VIPS = ("203.0.113.7", "2001:db8:1::7")
WEB = ("--service=web", "--real=10.0.1.11", "--real=fd00:1::11")


@pytest.mark.parametrize("method", ["fwmark", "fwmark-iptables", "route"])
def test_open_connections_go_on(net: Lab, vipctl: Vipctl, method: str) -> None:
    vipctl("add-range", *VIPS, *WEB, "--method", method, "--port=tcp/80", "--port=tcp/53")
    opened = [Connection(net.client, vip, 80) for vip in VIPS]
    assert [each.ask().server for each in opened] == ["real1"] * 2
    vipctl("set-service", "web", "--port=tcp/53")
    assert [tcp_get(net.client, vip, 80).outcome for vip in VIPS] == [Outcome.REFUSED] * 2
    assert [each.ask(b"x" * 100_000).server for each in opened] == ["real1"] * 2
    assert [tcp_get(net.client, vip, 53).server for vip in VIPS] == ["real1"] * 2
    for each in opened:
        each.close()
