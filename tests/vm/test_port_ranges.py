"""Ranges of ports with IPVS: what is inside is balanced, what is outside refused."""

import pytest

from tests.harness import module
from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.vm.observe import outcomes

VIPS = ("203.0.113.53", "2001:db8:1::53")
WEB = ["--service=web", "--port=tcp/79-81", "--real=10.0.1.11", "--real=fd00:1::11"]
DNS = ["--service=dns", "--port=udp", "--real=10.0.1.12", "--real=fd00:1::12"]
SOME = ["--service=dns", "--port=udp/1-1000", "--real=10.0.1.12", "--real=fd00:1::12"]


@pytest.mark.parametrize("method", ["fwmark", "shim", "route"])
def test_two_services_share_vips(net: Lab, vipctl: Vipctl, method: str) -> None:
    """The module has a list of up to 1,024 ports."""
    with module.loaded():
        for words in (WEB, SOME if method == "shim" else DNS):
            vipctl("add-range", *VIPS, *words, f"--method={method}")
        assert outcomes(net.client, VIPS, 80) == dict.fromkeys(VIPS, ("real1", "real2"))
        assert outcomes(net.client, VIPS, 53) == dict.fromkeys(VIPS, ("refused", "real2"))
        vipctl("remove-port", "web", "tcp/80")
        assert vipctl("list-services")["services"]["web"]["ports"] == ["tcp/79", "tcp/81"]
        assert outcomes(net.client, VIPS, 80) == dict.fromkeys(VIPS, ("refused", "real2"))
        vipctl("add-port", "web", "80/tcp")
        assert outcomes(net.client, VIPS, 80) == dict.fromkeys(VIPS, ("real1", "real2"))
        assert vipctl("status")["kernel"] == "as stored"
        for name in ("web", "dns"):
            vipctl("remove-service", name)


def test_the_module_swaps_its_longest_lists(net: Lab, vipctl: Vipctl) -> None:
    """Both together are more than it holds."""
    with module.loaded():
        vipctl("add-range", *VIPS, *WEB, "--method=shim")
        for ports, outcome in (("tcp/1-1024", "real1"), ("tcp/1025-2048", "refused")):
            vipctl("set-service", "web", f"--port={ports}")
            assert outcomes(net.client, VIPS, 80) == dict.fromkeys(VIPS, (outcome, "refused"))
        assert vipctl("status")["kernel"] == "as stored"
        vipctl("remove-service", "web")
