"""Rates of what IPVS counts; how they are drawn: tests/netns/test_live.py, tests/unit."""

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.waiting import wait_until
from tests.vm.observe import tcp
from vipctl.operate.rates import Sample, between
from vipctl.operate.sampling import Sampler

VIP, VIP6 = "203.0.113.7", "2001:db8:1::7"
A, B = "10.0.1.11", "10.0.1.12"


def sampled(net: Lab, sampler: Sampler, *shown: str) -> Sample:
    with net.director:
        return sampler.sample(shown)


def test_rates_are_of_services_and_of_real_servers_in_sight(net: Lab, vipctl: Vipctl) -> None:
    reals = (f"--real={A}", f"--real={B}", "--real=fd00:1::11")
    vipctl("add-range", VIP, VIP6, "--service", "web", *reals, "--scheduler", "rr")
    vipctl("add-range", "203.0.113.8", "--service", "idle", f"--real={A}")
    sampler = Sampler(vipctl.state_dir, ())
    before = sampled(net, sampler, "web")
    assert before.endpoints == {"idle": (A,), "web": (A, B, "fd00:1::11")}
    tcp(net.client, [VIP] * 6)
    tcp(net.client, [VIP6] * 2)

    def counted() -> bool:
        return sampled(net, sampler, "web").services["web"]["connections"] == 8

    wait_until(counted, "IPVS has added up what it counts")
    after = sampled(net, sampler, "web")
    found, seconds = between(before, after), after.at - before.at
    assert found.of("web")["connections"] * seconds == pytest.approx(8)
    assert found.of("idle")["connections"] == 0
    by_real = {endpoint: numbers["connections"] for (_, endpoint), numbers in found.reals.items()}
    assert by_real.keys() == {A, B, "fd00:1::11"}
    now = found.of("web")
    assert now["active"] + now["inactive"] == 8
    assert now["packets_in"] > now["connections"]
    assert not sampled(net, sampler).reals, "nobody looks at them"
