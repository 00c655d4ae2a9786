"""What the conformance suite does not measure of forwarding: other ports, real servers' errors."""

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.vm.observe import outcomes

VIP4, VIP6 = "203.0.113.77", "2001:db8:1::77"
REALS = [f"--real={real}" for real in ("10.0.1.11", "10.0.1.12", "fd00:1::11", "fd00:1::12")]


def test_nat_to_another_port(net: Lab, vipctl: Vipctl) -> None:
    vipctl(
        "add-range", VIP4, VIP6, "--service=web", "--real=10.0.1.11:53", "--real=[fd00:1::11]:53"
    )
    answered = ("real1", "real1")
    assert outcomes(net.client, [VIP4, VIP6], 8080) == {VIP4: answered, VIP6: answered}


def test_errors_of_real_servers_reach_the_client(net: Lab, vipctl: Vipctl) -> None:
    """Nobody serves port 81: with nat, the real servers' own refusals come back."""
    vipctl("add-range", VIP4, VIP6, "--service=web", *REALS)
    refused = ("refused", "refused")
    assert outcomes(net.client, [VIP4, VIP6], 81) == {VIP4: refused, VIP6: refused}
