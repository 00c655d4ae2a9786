"""A passive director beside real IPVS: nothing comes back, and nothing is lost but packets."""

from collections.abc import Iterator

import pytest

from tests.harness import module
from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import Connection
from tests.netns.wire import comes_back
from tests.vm.observe import ipvs, outcomes, tcp
from vipctl.linux import shim

VIPS = ["203.0.113.7", "2001:db8:1::7"]
RANGES = ("203.0.113.0/24", "2001:db8:1::/64")
REALS = ("--real=10.0.1.11", "--real=fd00:1::11")
SERVED = ("real1", "real1")


@pytest.fixture(autouse=True)
def _loaded() -> Iterator[None]:
    with module.loaded():
        yield


@pytest.mark.parametrize("method", ["shim", "fwmark"])
def test_a_director_is_passive_for_a_while(net: Lab, vipctl: Vipctl, method: str) -> None:
    words = ["--service=web", *REALS, f"--method={method}", "--ping", "--set-sysctls"]
    vipctl("add-range", *RANGES, *words)
    balanced = ipvs(net.director)
    assert comes_back(net, VIPS) == {*VIPS}
    with Connection(net.client, VIPS[0], 80) as open_one:
        assert open_one.ask().server == "real1"
        vipctl("deactivate")
        assert comes_back(net, VIPS) == set()
        assert (vipctl("status")["kernel"], ipvs(net.director)) == ("as stored", balanced)
        assert_the_director_itself_is_served(net)
        lose(net, method)
        assert vipctl("restore")["restored"] is True
        assert comes_back(net, VIPS) == set()
        vipctl("activate")
        assert open_one.ask().server == "real1"
    assert outcomes(net.client, VIPS, 80) == dict.fromkeys(VIPS, SERVED)


def assert_the_director_itself_is_served(net: Lab) -> None:
    ways = f"default via {net.client4}", f"::/0 via {net.client6}"
    net.director.ip(*(f"route add {way}" for way in ways))
    try:
        assert tcp(net.director, VIPS)["real1"] == 2
    finally:
        net.director.ip(*(f"route del {way}" for way in ways))


def lose(net: Lab, method: str) -> None:
    """All that the method has in the kernel."""
    if method == "shim":
        with net.director:
            shim.flush()
    else:
        net.director.run(["nft", "delete", "table", "inet", "vipctl"])


@pytest.mark.parametrize("method", ["shim", "fwmark"])
def test_of_services_that_share_vips_one_is_passive(net: Lab, vipctl: Vipctl, method: str) -> None:
    for name, port in (("web", "tcp/80"), ("dns", "udp/80")):
        words = [f"--service={name}", f"--port={port}", *REALS, f"--method={method}"]
        vipctl("add-range", *RANGES, *words)
    vipctl("deactivate", "--service", "dns")
    assert outcomes(net.client, VIPS, 80) == dict.fromkeys(VIPS, ("real1", "timeout"))
    vipctl("deactivate", "--service", "web")
    assert comes_back(net, VIPS) == set()
    vipctl("activate", "--service", "dns")
    assert outcomes(net.client, VIPS, 80) == dict.fromkeys(VIPS, ("timeout", "real1"))
    vipctl("activate", "--service", "web")
    assert outcomes(net.client, VIPS, 80) == dict.fromkeys(VIPS, SERVED)
