"""IPVS services of others: never touched, balanced where acceptance only is asked for."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.vm.observe import ipvs, outcomes, tcp, udp

VIP4, VIP6 = "203.0.113.7", "2001:db8:1::7"
WEB = ["--service=web", "--real=10.0.1.11", "--real=fd00:1::11"]
OTHERS = """
-A -t 192.0.2.1:80 -s rr
-a -t 192.0.2.1:80 -r 10.0.1.11:80 -m
-A -u [2001:db8:9::1]:53 -s wlc
-A -f 17 -s rr
-a -f 17 -r 10.0.1.11:0 -m
-a -f 17 -r 10.0.1.12:0 -m -w 3
-A -f 17 -6 -s rr
-a -f 17 -6 -r [fd00:1::12]:0 -m
-A -f 4097 -s sh
"""


@pytest.fixture
def others(net: Lab, vipctl: Vipctl) -> Iterator[set[str]]:
    """Somebody else's services, until the test is over."""
    net.director.run(["ipvsadm", "-R"], input=OTHERS.strip() + "\n")
    before = ipvs(net.director)
    yield before
    assert ipvs(net.director) >= before
    for service in ("-t 192.0.2.1:80", "-u [2001:db8:9::1]:53", "-f 17", "-f 17 -6", "-f 4097"):
        net.director.run(["ipvsadm", "-D", *service.split()])


def test_no_command_touches_them(
    net: Lab, vipctl: Vipctl, others: set[str], tmp_path: Path
) -> None:
    file = tmp_path / "state.yaml"
    file.write_text("services: {a: {ranges: [198.51.100.7], reals: [10.0.1.12], fwmark: 5}}")
    for words in (
        ["add-range", VIP4, VIP6, *WEB],
        ["set-service", "web", "--scheduler=wrr", "--fwmark=5"],
        ["drain-real", "web", "10.0.1.11"],
        ["restore"],
        ["apply", str(file)],
        ["remove-service", "a"],
        ["add-range", "198.51.100.0/24", "--fwmark", "17"],
        ["remove-range", "198.51.100.0/24"],
    ):
        vipctl(*words)
        assert ipvs(net.director) >= others
        assert {line for line in ipvs(net.director) - others if "-f 17" in line} == set()
    assert ipvs(net.director) == others


def test_acceptance_only_leaves_balancing_to_them(
    net: Lab, vipctl: Vipctl, others: set[str]
) -> None:
    done = vipctl("add-range", "203.0.113.0/24", "2001:db8:1::/64", "--fwmark", "17")
    assert done["changed"]
    assert not done["warnings"]
    assert tcp(net.client, [VIP4] * 4) == Counter(real1=2, real2=2)
    assert udp(net.client, [VIP4] * 2, nbytes=4000) == Counter(real1=1, real2=1)
    assert tcp(net.client, [VIP6] * 2) == Counter(real2=2)
    assert ipvs(net.director) == others
    assert outcomes(net.client, [VIP4], 22)[VIP4][0] == "refused"
    net.director.run(["ipvsadm", "-D", "-f", "17"])
    try:
        assert vipctl("status")["kernel"] == "as stored"
        assert outcomes(net.client, [VIP4], 22) == {VIP4: ("refused", "timeout")}
    finally:
        lines = [line for line in OTHERS.splitlines() if "-f 17 " in line and " -6" not in line]
        net.director.run(["ipvsadm", "-R"], input="\n".join(lines) + "\n")


def test_a_mark_of_theirs_is_refused(
    net: Lab, vipctl: Vipctl, others: set[str], tmp_path: Path
) -> None:
    file = tmp_path / "state.yaml"
    file.write_text("services: {a: {ranges: [198.51.100.7], reals: [10.0.1.12], fwmark: 17}}")
    vipctl("add-range", VIP4, VIP6, *WEB)
    before = ipvs(net.director), vipctl.text("export")
    for words, mark in (
        (["add-range", "198.51.100.7", "--service=new", "--real=10.0.1.11", "--fwmark=17"], "17"),
        (["add-service", "new", "--real=fd00:1::11", "--fwmark=17"], "17"),
        (["add-range", "198.51.100.7", "--service=new", "--real=10.0.1.11"], "4097"),
        (["set-service", "web", "--fwmark=17"], "17"),
        (["apply", str(file)], "17"),
    ):
        code, error = vipctl.error(*words)
        assert (code, error["kind"]) == (3, "refused")
        assert mark in error["message"]
        assert error["hint"]
        assert (ipvs(net.director), vipctl.text("export")) == before
