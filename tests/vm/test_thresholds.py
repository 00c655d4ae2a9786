"""Real servers that take so many connections and no more."""

from collections import Counter
from contextlib import ExitStack

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import Connection
from tests.vm.observe import tcp

VIP4, VIP6 = "203.0.113.7", "2001:db8:1::7"


@pytest.mark.parametrize(
    ("vip", "full", "other"),
    [(VIP4, "10.0.1.11", "10.0.1.12"), (VIP6, "fd00:1::11", "fd00:1::12")],
)
def test_a_full_one_gets_no_more(net: Lab, vipctl: Vipctl, vip: str, full: str, other: str) -> None:
    reals = f"--real={full},upper=2", f"--real={other}"
    vipctl("add-range", vip, "--service=web", "--scheduler=rr", *reals)
    with ExitStack() as stack:
        held = [stack.enter_context(Connection(net.client, vip, 80)) for _ in range(4)]
        assert Counter(c.ask().server for c in held) == {"real1": 2, "real2": 2}
        assert tcp(net.client, [vip] * 4) == {"real2": 4}
        vipctl("set-real", "web", f"{full},upper=100")
        assert tcp(net.client, [vip] * 4)["real1"] == 2


def test_thresholds_are_kept_and_restored(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", VIP4, "--service=web", "--real=10.0.1.11,upper=100,lower=50")
    vipctl("set-real", "web", "10.0.1.11,weight=3")
    (listed,) = (line for line in _thresholds(net) if "10.0.1.11" in line)
    assert listed.split()[1:4] == ["100", "50", "0"]
    net.director.run(
        ["ipvsadm", "-e", "-f", "4096", "-r", "10.0.1.11:0", "-m", "-w", "3", "-x", "7"]
    )
    assert vipctl("status")["kernel"] == "differs"
    assert vipctl("restore")["changed"] is True
    assert listed in _thresholds(net)


def _thresholds(net: Lab) -> list[str]:
    found = net.director.run(["ipvsadm", "-Ln", "--thresholds"]).stdout.splitlines()
    return [" ".join(line.split()[1:]) for line in found if "->" in line]
