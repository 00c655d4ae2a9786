"""A drained real server finishes what it has and gets nothing new."""

from collections import Counter

from tests.harness.command import Vipctl
from tests.harness.lab import CLIENT_SOURCES_4, Lab
from tests.harness.traffic import Connection, tcp_get, udp_ask
from tests.vm.observe import ipvs, tcp

VIP4, VIP6 = "203.0.113.7", "2001:db8:1::7"
REALS = [f"--real={real}" for real in ("10.0.1.11", "10.0.1.12", "fd00:1::11", "fd00:1::12")]
ADDRESSES = {
    VIP4: {"real1": "10.0.1.11", "real2": "10.0.1.12"},
    VIP6: {"real1": "fd00:1::11", "real2": "fd00:1::12"},
}
EXPIRY = "net.ipv4.vs.expire_quiescent_template"


def _drain_under_an_open_connection(net: Lab, vipctl: Vipctl, vip: str) -> None:
    with Connection(net.client, vip, 80) as connection:
        drained = connection.ask().server
        (other,) = {"real1", "real2"} - {drained}
        real = ADDRESSES[vip][drained]
        vipctl("drain-real", "web", real)
        assert tcp(net.client, [vip] * 4) == Counter({other: 4})
        assert udp_ask(net.client, vip, 80).server == other
        assert connection.ask(b"x" * 100_000).server == drained
        vipctl("set-real", "web", f"{real},weight=1")


def _drain_both_families(net: Lab, vipctl: Vipctl, *options: str) -> None:
    vipctl("add-range", VIP4, VIP6, "--service=web", *REALS, *options)
    for vip in (VIP4, VIP6):
        _drain_under_an_open_connection(net, vipctl, vip)


def test_drain(net: Lab, vipctl: Vipctl) -> None:
    _drain_both_families(net, vipctl, "--scheduler=rr")
    for vip in (VIP4, VIP6):
        assert tcp(net.client, [vip] * 4) == Counter(real1=2, real2=2)


def test_drain_with_persistence(net: Lab, vipctl: Vipctl) -> None:
    _drain_both_families(net, vipctl, "--scheduler=rr", "--persistence=300", "--set-sysctls")
    assert net.director.sysctl(EXPIRY) == "1"


def test_drain_with_a_hash_that_falls_back(net: Lab, vipctl: Vipctl) -> None:
    _drain_both_families(net, vipctl, "--scheduler=sh,fallback")
    vipctl("set-service", "web", "--scheduler=mh,fallback")
    _drain_under_an_open_connection(net, vipctl, VIP4)


def test_drain_is_refused_where_clients_would_be(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", VIP4, "--service=web", *REALS[:2])
    for scheduler, hint in (
        ("sh,port", "sh,fallback"),
        ("sh", "sh,fallback"),
        ("dh", "sh,fallback"),
        ("mh", "mh,fallback"),
    ):
        vipctl("set-service", "web", "--scheduler", scheduler)
        before = ipvs(net.director)
        code, error = vipctl.error("drain-real", "web", "10.0.1.11")
        assert (code, error["kind"]) == (3, "refused")
        assert scheduler in error["message"]
        assert hint in error["hint"]
        assert ipvs(net.director) == before


def test_the_refused_drain_would_have_cut_clients_off(net: Lab, vipctl: Vipctl) -> None:
    """Why it is refused: what happens with plain sh if the weight is set to 0 nevertheless."""
    vipctl("add-range", VIP4, "--service", "web", *REALS[:2], "--scheduler", "sh")
    ask = {source: tcp_get(net.client, VIP4, 80, source).server for source in CLIENT_SOURCES_4}
    assert set(ask.values()) == {"real1", "real2"}
    net.director.run(["ipvsadm", "-e", "-f", "4096", "-r", "10.0.1.11", "-m", "-w", "0"])
    lost = next(source for source, server in ask.items() if server == "real1")
    assert not tcp_get(net.client, VIP4, 80, lost, timeout=1).answered


def test_drain_with_persistence_needs_its_sysctl(net: Lab, vipctl: Vipctl) -> None:
    options = ["--persistence", "300", "--scheduler", "rr"]
    done = vipctl("add-range", VIP4, "--service", "web", *REALS[:2], *options)
    assert any(EXPIRY in warning for warning in done["warnings"])
    code, error = vipctl.error("drain-real", "web", "10.0.1.11")
    assert (code, error["kind"]) == (3, "refused")
    assert EXPIRY in error["message"]
    assert {"--set-sysctls"} <= set(error["hint"].split())
    try:
        net.director.sysctl(EXPIRY, 1)
        _drain_under_an_open_connection(net, vipctl, VIP4)
    finally:
        net.director.sysctl(EXPIRY, 0)
