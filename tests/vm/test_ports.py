"""Services that name ports: two on one VIP, and what becomes of the other ports."""

from collections.abc import Iterator

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import tcp_post, udp_ask
from tests.vm.conftest import traceless
from tests.vm.observe import is_ipv6, outcomes

VIP4, VIP6 = "203.0.113.53", "2001:db8:1::53"
RANGES = ("203.0.113.0/24", "2001:db8:1::/64")
WEB = ["--service=web", "--port=tcp/80", "--real=10.0.1.11", "--real=fd00:1::11"]
DNS = ["--service=dns", "--port=udp/53", "--real=10.0.1.12", "--real=fd00:1::12"]


@pytest.fixture(scope="module")
def vipctl(net: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vipctl]:
    """Both services on the same VIPs; dns came second and holds a part of web's."""
    with traceless(net.director, tmp_path_factory.mktemp("ports")) as command:
        command("add-range", *RANGES, *WEB)
        command("add-range", "203.0.113.32/27", "2001:db8:1::/112", *DNS)
        yield command


@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_each_has_its_own_real_servers(net: Lab, vipctl: Vipctl, vip: str) -> None:
    lost = "refused" if is_ipv6(vip) else "timeout"
    assert outcomes(net.client, [vip], 80) == {vip: ("real1", lost)}
    assert outcomes(net.client, [vip], 53) == {vip: ("refused", "real2")}
    assert tcp_post(net.client, vip, 80, 100_000).server == "real1"
    assert udp_ask(net.client, vip, 53, 4000).server == "real2"


def test_other_ports_meet_the_guard(net: Lab, vipctl: Vipctl) -> None:
    assert outcomes(net.client, [VIP4, VIP6], 22) == {
        VIP4: ("refused", "timeout"),
        VIP6: ("refused", "refused"),
    }


def test_vips_of_one_service_only(net: Lab, vipctl: Vipctl) -> None:
    assert outcomes(net.client, ["203.0.113.9"], 80) == {"203.0.113.9": ("real1", "timeout")}
    assert outcomes(net.client, ["203.0.113.9"], 53) == {"203.0.113.9": ("refused", "timeout")}


@pytest.mark.parametrize(
    "options",
    [
        ["--port=udp/53", "--port=tcp/443"],
        ["--port=tcp/80"],
        [],
    ],
)
def test_overlapping_ports_are_refused(vipctl: Vipctl, options: list[str]) -> None:
    before = vipctl.text("export")
    words = ["add-range", VIP4, "--service=more", "--real=10.0.1.11", *options]
    code, error = vipctl.error(*words)
    assert (code, error["kind"]) == (3, "refused")
    assert error["hint"]
    assert vipctl.error("set-service", "dns", *(options or ["--port=all"]), "--port=tcp/80")[0] in (
        2,
        3,
    )
    assert vipctl.text("export") == before
