"""Tunnels of every kind, for VIPs of the real server's address family and of the other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import Namespace, execute
from tests.harness.traffic import tcp_post, udp_ask
from tests.vm.conftest import OWNED, served_lab, traceless
from tests.vm.observe import ipvs

VIP4, VIP6 = "203.0.113.7", "2001:db8:1::7"
RIP4, RIP6 = "10.0.1.11", "fd00:1::12"  # of real1 and real2
MODULES = ["ipip", "sit", "ip6_tunnel", "ip_gre", "ip6_gre", "fou", "fou6"]
FALLBACKS = "net.core.fb_tunnels_only_for_init_net"
DATAGRAMS = 6  # an IPv6 client learns by the first how large a packet may be
UPLOAD = 1 << 20
SYNC = ["master", "--mcast-interface", "eth1"]


@pytest.fixture(scope="module")
def far() -> Iterator[Lab]:
    """Real servers that take packets out of tunnels; real1 wants checksums of GRE."""
    execute(["sysctl", "-w", f"{FALLBACKS}=1"])  # no devices that nobody asked for
    execute(["modprobe", "--all", *MODULES])
    with served_lab() as built:
        execute(["sysctl", "-w", f"{FALLBACKS}=0"])
        for index, real in enumerate(built.reals):
            built.accept_vips(real, *OWNED)
            _open_tunnels(
                real, built.real4(index), built.real6(index), "icsum" if not index else ""
            )
        yield built


def _open_tunnels(real: Namespace, own4: str, own6: str, checksum: str) -> None:
    real.ip(
        f"link add ipip1 type ipip local {own4}",
        f"link add sit1 type sit local {own4}",
        f"link add gre1 type gre local {own4} {checksum}",
        f"link add ip6tnl1 type ip6tnl mode any local {own6}",
        f"link add ip6gre1 type ip6gre local {own6} {checksum}",
        *(f"link set {device} up" for device in ("ipip1", "sit1", "gre1", "ip6tnl1", "ip6gre1")),
    )
    for family in ("-4", "-6"):
        real.run(["ip", family, "fou", "add", "port", "6080", "gue"])


@pytest.fixture
def vipctl(far: Lab, tmp_path: Path) -> Iterator[Vipctl]:
    with traceless(far.director, tmp_path) as command:
        yield command


def test_every_kind_in_both_families(far: Lab, vipctl: Vipctl) -> None:
    reals = [f"--real={rip},family=both" for rip in (RIP4, RIP6)]
    words = ["--service=web", "--forward=tun", "--scheduler=rr", "--set-sysctls", *reals]
    assert not vipctl("add-range", VIP4, VIP6, *words)["warnings"]
    found: dict[tuple[str, str], list[str]] = {}
    sizes = []
    for kind in ("ipip", "gre", "gue", "gue+csum", "gue+remcsum"):
        for rip in (RIP4, RIP6):
            tunnel = "gre+csum" if (kind, rip) == ("gre", RIP4) else kind
            vipctl("set-real", "web", f"{rip},tunnel={tunnel}")
        found |= {(kind, vip): _served(far.client, vip) for vip in (VIP4, VIP6)}
        sizes.append(_path_mtu(far.client, VIP6))
    assert found == dict.fromkeys(found, ["real1 real2"] * 2)
    assert sizes == [1500 - more for more in (40, 44, 52, 52, 60)]
    assert not vipctl("restore")["changed"]


def _path_mtu(client: Namespace, vip: str) -> int:
    words = client.run(["ip", "route", "get", vip]).stdout.split()
    return int(words[words.index("mtu") + 1])


def _served(client: Namespace, vip: str) -> list[str]:
    """The servers that took uploads, and datagrams of 4,000 bytes."""
    uploads = [tcp_post(client, vip, 80, UPLOAD, timeout=30) for _ in range(2)]
    datagrams = [udp_ask(client, vip, 53, 4000, timeout=2) for _ in range(DATAGRAMS)]
    found = ({reply.server for reply in some if reply.answered} for some in (uploads, datagrams))
    return [" ".join(sorted(servers)) for servers in found]


def test_they_are_kept_and_restored(far: Lab, vipctl: Vipctl) -> None:
    real = f"{RIP4},tunnel=gue:6081+csum,family=both,weight=2"
    vipctl("add-range", VIP4, VIP6, "--service=web", "--forward=tun", f"--real={real}")
    kept = ipvs(far.director)
    listed = [line for line in kept if line.startswith("-a")]
    assert len(listed) == 2
    assert all("-i -w 2 --tun-type gue --tun-port 6081 --tun-csum" in line for line in listed)
    vipctl("set-real", "web", f"{RIP4},weight=2")
    for damage in ("gue --tun-port 6081 --tun-remcsum", "gue --tun-port 6080 --tun-csum", "ipip"):
        words = f"-e -f 4096 -r {RIP4}:0 -i -w 2 --tun-type {damage}"
        far.director.run(["ipvsadm", *words.split()])
        assert vipctl("status")["kernel"] == "differs"
        assert vipctl("restore")["changed"]
        assert ipvs(far.director) == kept
    assert vipctl("status")["services"]["web"]["ipvs"].keys() == {"ipv4", "ipv6"}
    vipctl("set-real", "web", f"{RIP4},family=own,tunnel=gre")
    assert [line for line in ipvs(far.director) if line.startswith("-a")] == [
        f"-a -f 4096 -r {RIP4}:0 -i -w 2 --tun-type gre --tun-nocsum"
    ]


def test_the_sync_daemon_knows_no_other_family(far: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", VIP4, VIP6, "--service=web", "--forward=tun", f"--real={RIP4}")
    before = ipvs(far.director)
    far.director.run(["ipvsadm", "--start-daemon", *SYNC])
    try:
        code, error = vipctl.error("set-real", "web", f"{RIP4},family=both")
        assert (code, error["kind"]) == (4, "kernel")
        assert "sync daemon" in error["hint"]
        assert ipvs(far.director) == before
    finally:
        far.director.run(["ipvsadm", "--stop-daemon", "master"])
    vipctl("set-real", "web", f"{RIP4},family=both")
    assert far.director.run(["ipvsadm", "--start-daemon", *SYNC], check=False).returncode
