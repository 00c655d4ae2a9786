"""IPVS changed behind vipctl's back, by the next command made right; lost with the kernel, too."""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.vm.conftest import served_lab, traceless
from tests.vm.observe import ipvs, kernel_state, tcp

VIP4, VIP6 = "203.0.113.7", "2001:db8:1::7"
AGAIN = ["add-range", VIP4, "--service", "web"]
DAMAGE = [
    "ipvsadm -C",
    "ipvsadm -D -f 4096 -6",
    "ipvsadm -d -f 4096 -r 10.0.1.12:0",
    "ipvsadm -a -f 4096 -r 10.0.1.13:0 -m",
    "ipvsadm -e -f 4096 -r 10.0.1.12:0 -m -w 9",
    "ipvsadm -e -f 4096 -r 10.0.1.12:0 -g -w 2",
    "ipvsadm -E -f 4096 -s wrr -p 60",
    "ipvsadm -e -f 4096 -r 10.0.1.12:0 -m -w 2 -x 100 -y 50",
    "ipvsadm -e -f 4096 -r 10.0.1.12:0 -m -w 2 -x 100",
    "ipvsadm -e -f 4096 -r 10.0.1.12:0 -i -w 2 --tun-type gue --tun-port 6080 --tun-nocsum",
    "ipvsadm -e -f 4096 -r 10.0.1.12:0 -i -w 2 --tun-type gre --tun-csum",
    "ipvsadm -E -f 4096 -s wrr -o",
    "ipvsadm -E -f 4096 -s wrr -p 60 -M 255.255.255.0",
    "ipvsadm -E -f 4096 -6 -s wrr -p 60 -M 64",
    "ipvsadm -E -f 4096 -s wrr -b flag-3",
    "ipvsadm -A -f 4097 -s rr",  # of a service that has no IPv4 real server
    "ipvsadm -C; nft flush ruleset; ip rule del pref 4301; ip -6 route flush table 30320",
]


def everything(host: Namespace) -> set[str]:
    """Of IPVS, what ipvsadm does not save too."""
    listed = host.run(["ipvsadm", "-Ln", "--thresholds"]).stdout.splitlines()
    return ipvs(host) | {line.strip() for line in listed}


@pytest.fixture(scope="module")
def stored(net: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vipctl]:
    with traceless(net.director, tmp_path_factory.mktemp("drift")) as vipctl:
        reals = ["--real=10.0.1.11", "--real=10.0.1.12,weight=2", "--real=fd00:1::11"]
        vipctl("add-range", VIP4, VIP6, "--service=web", "--scheduler=wrr", *reals)
        vipctl("add-range", "2001:db8:2::/64", "--service=six", "--real=fd00:1::12")
        yield vipctl


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_next_add_range_restores_ipvs(net: Lab, stored: Vipctl, damage: str) -> None:
    before = everything(net.director)
    net.director.run(["bash", "-ec", damage])
    assert everything(net.director) != before
    done = stored(*AGAIN)
    assert (done["changed"], done["restored"]) == (True, True)
    assert everything(net.director) == before


@pytest.mark.parametrize("damage", [d for d in DAMAGE if " -e " in d or " -E " in d])
def test_status_sees_it_and_restore_puts_it_back(net: Lab, stored: Vipctl, damage: str) -> None:
    before = everything(net.director)
    net.director.run(["bash", "-ec", damage])
    assert stored("status")["kernel"] == "differs"
    assert stored("--check", "restore")["changed"] is True
    assert stored("restore")["changed"] is True
    assert stored("status")["kernel"] == "as stored"
    assert everything(net.director) == before


def test_tunnels_of_another_kind(direct: Lab, tmp_path: Path) -> None:
    with traceless(direct.director, tmp_path) as vipctl:
        vipctl("add-range", VIP4, "--service=web", "--forward=tun", "--real=10.0.1.11")
        before = everything(direct.director)
        edit = "ipvsadm -e -f 4096 -r 10.0.1.11:0 -i --tun-type gue --tun-port 6080 --tun-nocsum"
        direct.director.run(edit.split())
        assert everything(direct.director) != before
        assert vipctl("status")["kernel"] == "differs"
        assert vipctl("set-real", "web", "10.0.1.11,weight=3")["restored"] is True
        assert vipctl("set-real", "web", "10.0.1.11,weight=1")["restored"] is False
        assert everything(direct.director) == before


def test_restore(net: Lab, stored: Vipctl) -> None:
    assert not stored(*AGAIN)["changed"]
    net.director.run(["bash", "-ec", DAMAGE[-1]])
    assert stored("--check", *AGAIN)["restored"]
    assert stored("status")["kernel"] == "differs"
    assert "kernel: differs" in stored.text("status").stdout
    assert stored("restore")["changed"]
    assert not stored("restore")["changed"]
    assert stored("status")["kernel"] == "as stored"
    assert tcp(net.client, [VIP4] * 3) == Counter(real1=1, real2=2)
    assert tcp(net.client, [VIP6, "2001:db8:2::2"]) == Counter(real1=1, real2=1)


def test_restore_after_a_boot(stored: Vipctl, tmp_path: Path) -> None:
    """A new network namespace, whose director has nothing and forwards nothing."""
    stored("set-service", "web", "--set-sysctls")
    state_dir = shutil.copytree(stored.state_dir, tmp_path / "state")
    with served_lab() as net:
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            net.director.sysctl(key, 0)
        before = kernel_state(net.director)
        booted = Vipctl(net.director, state_dir)
        code, error = booted.error(*AGAIN)
        assert (code, error["kind"]) == (3, "refused")
        assert "restore" in error["hint"]
        assert kernel_state(net.director) == before
        assert booted("restore")["changed"]
        assert not booted("restore")["changed"]
        assert tcp(net.client, [VIP4] * 3) == Counter(real1=1, real2=2)
        assert tcp(net.client, [VIP6, "2001:db8:2::2"]) == Counter(real1=1, real2=1)
        booted("remove-service", "six")
        booted("remove-service", "web")
        assert kernel_state(net.director) == before
