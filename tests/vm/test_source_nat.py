"""Source NAT: real servers that have no way back to the clients, or are clients themselves."""

from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from socket import AF_INET, AF_INET6

import pytest
from pyroute2 import NFCTSocket

from tests.harness import module
from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.harness.traffic import Outcome, Reply, tcp_get, tcp_post, udp_ask
from tests.vm.conftest import served_lab, traceless
from tests.vm.observe import SHORT, at_once

VIP4, VIP6 = "203.0.113.7", "2001:db8:1::7"
OWN = {VIP4: "10.0.1.1", VIP6: "fd00:1::1"}
REALS = ["--real=10.0.1.11", "--real=10.0.1.12", "--real=fd00:1::11", "--real=fd00:1::12"]
METHODS = ["fwmark", "shim", "route", "fwmark-iptables"]
TABLE = "inet vipctl_source"


@pytest.fixture(scope="module")
def apart() -> Iterator[Lab]:
    """Real servers that reach their own network alone, and VIPs through the director."""
    with module.loaded(), served_lab() as built:
        for real in built.reals:
            real.ip(
                "route del default",
                "route del ::/0",
                "route add 203.0.113.0/24 via 10.0.1.1",
                "route add 2001:db8:1::/64 via fd00:1::1",
            )
        yield built


@pytest.fixture
def vipctl(apart: Lab, tmp_path: Path) -> Iterator[Vipctl]:
    """vipctl on their director."""
    with traceless(apart.director, tmp_path) as command:
        yield command


def add(vipctl: Vipctl, *options: str) -> dict[str, object]:
    """Have a service of both IP versions."""
    ranges = "203.0.113.0/24", "2001:db8:1::/64"
    return vipctl("add-range", *ranges, "--service=web", *REALS, "--set-sysctls", *options)


def all_of_it(net: Lab, vip: str) -> list[Reply]:
    """What a client meets: small and large, both protocols."""
    return [
        tcp_get(net.client, vip, 80),
        tcp_post(net.client, vip, 80, 100_000),
        udp_ask(net.client, vip, 80, 16),
        udp_ask(net.client, vip, 80, 4000),
    ]


def ports_in_use(vipctl: Vipctl) -> dict[str, int]:
    """What `status` says, of real servers toward which there are any."""
    found = vipctl("status")["services"]["web"]["source_ports"]
    assert {n["ports"] for n in found.values()} == {64512}
    return {endpoint: n["used"] for endpoint, n in found.items() if n["used"]}


def translated(host: Namespace) -> dict[str, int]:
    """Connections that the kernel tracks toward each real server, answered to an own address."""
    counts = Counter[str]()
    for family in (AF_INET, AF_INET6):
        with host, NFCTSocket(nfgen_family=family) as tracking:
            for entry in tracking.dump():
                ends = entry.get(("CTA_TUPLE_REPLY", "CTA_TUPLE_IP"))
                source, destination = (ip_address(value) for _, value in ends["attrs"])
                if str(destination) in OWN.values():
                    counts[str(source)] += 1
    return dict(counts)


@pytest.mark.parametrize("method", METHODS)
def test_servers_without_a_way_back(apart: Lab, vipctl: Vipctl, method: str) -> None:
    warnings = add(vipctl, f"--method={method}", "--source-nat=auto")["warnings"]
    assert any("see the director's address" in text for text in warnings)  # type: ignore[attr-defined]
    for vip in (VIP4, VIP6):
        replies = all_of_it(apart, vip)
        assert {reply.outcome for reply in replies} == {Outcome.ANSWERED}
        assert {reply.peer for reply in replies} == {OWN[vip]}
    assert vipctl("status")["kernel"] == "as stored"
    assert ports_in_use(vipctl) == translated(apart.director)
    vipctl("set-service", "web", "--source-nat=no")
    assert TABLE not in apart.director.run(["nft", "list", "tables"]).stdout
    lost = at_once(*(lambda v=vip: tcp_get(apart.client, v, 80, timeout=SHORT) for vip in OWN))
    assert {reply.outcome for reply in lost} == {Outcome.TIMEOUT}


@pytest.mark.parametrize("method", METHODS)
def test_a_real_server_is_a_client(apart: Lab, vipctl: Vipctl, method: str) -> None:
    """Each reaches the other and itself through the director."""
    add(vipctl, f"--method={method}", "--source-nat=auto", "--scheduler=rr")
    for vip in (VIP4, VIP6):
        replies = [tcp_get(apart.reals[0], vip, 80) for _ in range(4)]
        assert sorted(reply.server or "" for reply in replies) == ["real1"] * 2 + ["real2"] * 2
        assert {reply.peer for reply in replies} == {OWN[vip]}


def test_addresses_that_are_chosen(apart: Lab, vipctl: Vipctl) -> None:
    """A client keeps its own; only connections to these services get another source."""
    more = ["10.0.1.2", "10.0.1.3", "fd00:1::2"]
    apart.director.ip(*(f"address add {a}/{24 if '.' in a else 64} dev eth1" for a in more))
    try:
        add(vipctl, *(f"--source-nat={address}" for address in more))
        sources = [f"10.0.0.{n}" for n in range(2, 10)]
        seen = {s: tcp_get(apart.client, VIP4, 80, source=s).peer for s in sources * 2}
        again = {s: tcp_get(apart.client, VIP4, 80, source=s).peer for s in sources}
        assert seen == again
        assert set(seen.values()) == {"10.0.1.2", "10.0.1.3"}
        assert tcp_get(apart.client, VIP6, 80).peer == "fd00:1::2"
        assert tcp_get(apart.director, "10.0.1.11", 80).peer == "10.0.1.1"
        exported = vipctl("export")["services"]["web"]
        assert exported["source_nat"] == more
    finally:
        vipctl("remove-service", "web")
        apart.director.ip(*(f"address del {a}/{24 if '.' in a else 64} dev eth1" for a in more))


@pytest.mark.parametrize(
    "damage",
    [
        f"nft delete table {TABLE}",
        f"nft flush chain {TABLE} translate",
        f"nft delete chain {TABLE} sent",
        f"nft insert rule {TABLE} translate accept",
        "nft flush ruleset",
    ],
)
def test_what_others_delete_comes_back(apart: Lab, vipctl: Vipctl, damage: str) -> None:
    add(vipctl, "--source-nat=auto")
    apart.director.run(["sh", "-ec", damage])
    assert vipctl("status")["kernel"] == "differs"
    assert vipctl("remove-range", "192.0.2.1")["restored"] is True
    assert vipctl("status")["kernel"] == "as stored"
    assert vipctl("restore")["changed"] is False
    assert tcp_get(apart.client, VIP4, 80).peer == OWN[VIP4]


@pytest.mark.parametrize("forward", ["dr", "tun"])
def test_only_nat_has_it(vipctl: Vipctl, forward: str) -> None:
    words = "add-range", VIP4, "--service=web", "--real=10.0.1.11", f"--forward={forward}"
    code, error = vipctl.error(*words, "--source-nat=auto")
    assert (code, error["kind"]) == (3, "refused")
    assert "--source-nat" in error["message"]


def test_an_address_of_another_host_is_refused(vipctl: Vipctl) -> None:
    words = "add-range", VIP4, "--service=web", "--real=10.0.1.11", "--source-nat=10.0.1.77"
    code, error = vipctl.error(*words)
    assert (code, error["kind"]) == (3, "refused")
    assert "10.0.1.77" in error["message"]
