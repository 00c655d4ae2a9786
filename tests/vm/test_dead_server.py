"""A real server that is not there: clients are told, and the kernel does not complain."""

from itertools import product

import pytest

from tests.harness import kernellog
from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import Outcome, tcp_get

VIP, NOBODY = "203.0.113.7", "10.0.1.99"
COMPLAINT = "detected local route"  # icmp_route_lookup of net/ipv4/icmp.c


CASES = list(product(("nat", "dr"), ("fwmark", "fwmark-iptables", "route")))


@pytest.mark.parametrize(("forward", "method"), CASES)
def test_the_kernel_does_not_complain(net: Lab, vipctl: Vipctl, forward: str, method: str) -> None:
    """Each has a mark of its own: a packet may wait for NOBODY's address longer than its case.

    One client asks once: the kernel sends it only so many errors a second.
    """
    mark = f"--fwmark={300 + CASES.index((forward, method))}"
    words = ["--service=web", f"--real={NOBODY}", "--method", method, "--forward", forward, mark]
    vipctl("add-range", VIP, *words)
    before = kernellog.lines()
    assert tcp_get(net.client, VIP, 80).outcome is Outcome.UNREACHABLE
    assert [line for line in kernellog.lines() if COMPLAINT in line and line not in before] == []
