"""`doctor` where there is IPVS: IPVS services of others."""

from pathlib import Path

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.machine import Machine
from tests.harness.netns import Namespace
from tests.netns.complaints import RESTORED
from tests.netns.complaints.base import LIMITED
from tests.netns.examining import examined
from tests.vm.conftest import OWNED
from vipctl.operate.unbalanced import OF_OTHERS

REALS = [f"--real={real}" for real in ("10.0.1.11", "10.0.1.12", "fd00:1::11", "fd00:1::12")]
AT_BOOT = {"/etc/modules-load.d/vip_shim.conf": "vip_shim\n"}


def settled(host: Namespace, directory: Path) -> Machine:
    """A machine that has what `doctor` asks for, whatever the method."""
    made = Machine(host, directory / "root")
    made.write({**RESTORED, **LIMITED, **AT_BOOT})
    return made


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
