"""The guest: a Debian kernel with IPVS, on which the lab balances."""

from collections import Counter
from pathlib import Path

import pytest

from tests.harness.lab import Lab, lab
from tests.harness.netns import execute
from tests.harness.servers import TcpServer, UdpServer
from tests.harness.traffic import tcp_get, tcp_post, udp_ask

MODULES = "ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_wlc ip_vs_sh ip_vs_mh ip_vs_dh ipip nf_tables \
    nft_tproxy nft_redir dummy veth nf_conntrack ip_set_hash_net iptable_mangle xt_mark xt_set"
PORT = 80


@pytest.mark.parametrize("module", MODULES.split())
def test_modules_load(module: str) -> None:
    execute(["modprobe", module])
    assert Path("/sys/module", module).exists()


def test_kernel_has_ipvs() -> None:
    execute(["modprobe", "ip_vs"])
    assert "IP Virtual Server" in Path("/proc/net/ip_vs").read_text()


CASES = [
    pytest.param(flag, vip, id=f"{name}-{family}")
    for name, flag in (("nat", "-m"), ("dr", "-g"), ("tun", "-i"))
    for family, vip in ((4, "203.0.113.7"), (6, "2001:db8:1::7"))
    if (name, family) != ("tun", 6)
]


def _endpoint(address: str) -> str:
    return f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}"


def _prepare(net: Lab, flag: str, vip: str) -> None:
    for number, real in enumerate(net.reals, 1):
        for bind in ("0.0.0.0", "::"):
            TcpServer(real, bind, PORT, f"real{number}")
            UdpServer(real, bind, PORT, f"real{number}")
        if flag != "-m":
            net.accept_vips(real, vip, tun=flag == "-i")
    net.director.ip(f"addr add {vip} dev eth0")
    net.director.sysctl("net.ipv4.vs.pmtu_disc", 0)


def _balance(net: Lab, flag: str, vip: str) -> None:
    address = net.real6 if ":" in vip else net.real4
    for protocol in ("-t", "-u"):
        service = [protocol, _endpoint(vip)]
        net.director.run(["ipvsadm", "-A", *service, "-s", "rr"])
        for index in range(len(net.reals)):
            real = _endpoint(address(index))
            net.director.run(["ipvsadm", "-a", *service, "-r", real, flag])


@pytest.mark.parametrize(("flag", "vip"), CASES)
def test_owned_vip_is_balanced(flag: str, vip: str) -> None:
    with lab() as net:
        _prepare(net, flag, vip)
        _balance(net, flag, vip)
        evenly = {"real1": 2, "real2": 2}
        assert Counter(tcp_get(net.client, vip, PORT).server for _ in range(4)) == evenly
        assert Counter(tcp_post(net.client, vip, PORT, 100_000).server for _ in range(4)) == evenly
        assert Counter(udp_ask(net.client, vip, PORT, 4000).server for _ in range(4)) == evenly
