"""`doctor` where there is IPVS: nothing ails a director that works."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import module
from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.machine import Machine
from tests.harness.netns import Namespace
from tests.harness.traffic import tcp_get
from tests.netns.complaints import RESTORED
from tests.netns.complaints.base import LIMITED
from tests.netns.examining import examined
from tests.vm.conftest import OWNED
from tests.vm.observe import SHORT
from vipctl.operate.unbalanced import OF_OTHERS

VIPS = ("203.0.113.7", "2001:db8:1::7")
REALS = [f"--real={real}" for real in ("10.0.1.11", "10.0.1.12", "fd00:1::11", "fd00:1::12")]
METHODS = ("fwmark", "fwmark-iptables", "route", "shim")
AT_BOOT = {"/etc/modules-load.d/vip_shim.conf": "vip_shim\n"}


@pytest.fixture(scope="module", autouse=True)
def vip_shim() -> Iterator[None]:
    """The module, for a method."""
    with module.loaded():
        yield


def settled(host: Namespace, directory: Path) -> Machine:
    """A machine that has what `doctor` asks for, whatever the method."""
    made = Machine(host, directory / "root")
    made.write({**RESTORED, **LIMITED, **AT_BOOT})
    return made


@pytest.mark.parametrize("method", METHODS)
def test_nothing_ails_a_director_that_works(
    net: Lab, vipctl: Vipctl, tmp_path: Path, method: str
) -> None:
    words = ["--service=web", f"--method={method}", "--forward=nat", "--set-sysctls", *REALS]
    vipctl("add-range", *OWNED, *words)
    for vip in VIPS:
        assert tcp_get(net.client, vip, 80, timeout=SHORT).answered
    assert examined(settled(net.director, tmp_path), vipctl)["causes"] == []


@pytest.mark.parametrize("forward", ["dr", "tun"])
def test_nothing_ails_one_that_clients_are_answered_without(
    direct: Lab, vipctl_direct: Vipctl, tmp_path: Path, forward: str
) -> None:
    words = ["--service=web", f"--forward={forward}", "--set-sysctls", *REALS[:2]]
    vipctl_direct("add-range", OWNED[0], *words)
    assert tcp_get(direct.client, VIPS[0], 80, timeout=SHORT).answered
    assert examined(settled(direct.director, tmp_path), vipctl_direct)["causes"] == []


def test_services_of_others_that_are_not_there(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    """As ipvsadm, or keepalived, makes them; `status` says the same."""
    vipctl("add-range", *OWNED, "--fwmark", "17", "--method=fwmark")
    machine = settled(net.director, tmp_path)

    def told() -> list[str]:
        found = examined(machine, vipctl)
        says = [step["says"] for step in found["checks"] if step["cause"]]
        assert set(found["causes"]) <= {"ipvs-service-missing"}
        assert vipctl("status")["unbalanced"] == [f"{one}; {OF_OTHERS}" for one in says]
        return [one.partition("IPVS has ")[2] for one in says]

    assert told() == ["no IPv4 and IPv6 service of fwmark 0x11"]
    net.director.run(["ipvsadm", "-A", "-f", "17", "-s", "rr"])
    assert told() == ["no IPv6 service of fwmark 0x11"]
    net.director.run(["ipvsadm", "-A", "-f", "17", "-6", "-s", "rr"])
    assert told() == []
    for six in ([], ["-6"]):
        net.director.run(["ipvsadm", "-D", "-f", "17", *six])
