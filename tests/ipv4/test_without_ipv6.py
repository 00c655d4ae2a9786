"""A kernel that was booted with ipv6.disable=1: IPv4 is served, whatever else is stored."""

from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.harness import module
from tests.harness.command import Vipctl
from tests.harness.netns import Namespace, execute
from tests.harness.servers import TcpServer
from tests.harness.traffic import tcp_get
from tests.harness.waiting import wait_until
from vipctl.addresses.spans import Spans
from vipctl.services.change import Change, Place
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.state.store import Store

VIP4, VIP6 = "203.0.113.7", "2001:db8:1::7"
METHODS = ("fwmark", "route", "fwmark-iptables", "shim")


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, Namespace]]:
    """A client, a director and a real server, in a row."""
    with ExitStack() as stack:
        found = {role: Namespace.create(role) for role in ("client", "director", "real")}
        for host in found.values():
            stack.callback(host.close)
        client, director, real = found.values()
        client.ip(
            f"link add eth0 type veth peer name eth0 netns {director.name}",
            "link set eth0 up",
            "addr add 10.0.0.2/24 dev eth0",
        )
        real.ip(
            f"link add eth0 type veth peer name eth1 netns {director.name}",
            "link set eth0 up",
            "addr add 10.0.1.11/24 dev eth0",
        )
        director.ip(
            "link set eth0 up",
            "link set eth1 up",
            "addr add 10.0.0.1/24 dev eth0",
            "addr add 10.0.1.1/24 dev eth1",
        )
        client.ip("route add default via 10.0.0.1")
        real.ip("route add default via 10.0.1.1")
        director.sysctl("net.ipv4.ip_forward", 1)
        server = TcpServer(real, "0.0.0.0", 80, "real1")
        stack.callback(server.close)
        yield found


@pytest.fixture(scope="module", autouse=True)
def loaded() -> Iterator[None]:
    execute(["modprobe", "ip_vs"])
    with module.loaded():
        yield


@pytest.fixture
def vipctl(hosts: dict[str, Namespace], tmp_path: Path) -> Iterator[Vipctl]:
    found = Vipctl(hosts["director"], tmp_path / "state")
    yield found
    for name in found("list-services")["services"]:
        found("remove-service", name)


def answers(hosts: dict[str, Namespace]) -> bool:
    return tcp_get(hosts["client"], VIP4, 80, timeout=5).server == "real1"


@pytest.mark.parametrize("method", METHODS)
def test_a_service_is_balanced(hosts: dict[str, Namespace], vipctl: Vipctl, method: str) -> None:
    web = ("--service=web", "--real=10.0.1.11", f"--method={method}")
    assert "IPv6" not in str(vipctl("add-range", VIP4, *web)["warnings"])
    wait_until(lambda: answers(hosts), "the real server answers")
    assert vipctl("restore")["changed"] is False
    assert vipctl("status")["problems"] == []
    vipctl("remove-service", "web")
    assert "vipctl" not in hosts["director"].run(["nft", "list", "ruleset"]).stdout


def stored_elsewhere(directory: Path, method: str) -> None:
    """What a director with IPv6 would have stored."""
    reals = tuple(RealServer(ip_address(a)) for a in ("10.0.1.11", "fd00:1::11"))
    web = Service("web", 0x1000, method, reals=reals)
    spans = {
        Place("web", v, 0): Spans.from_pairs(v, [(int(ip_address(vip)), int(ip_address(vip)))])
        for v, vip in ((4, VIP4), (6, VIP6))
    }
    with Store.open(directory) as store:
        store.begin(Change((), (web,), {}, spans), (), {})


@pytest.mark.parametrize("method", METHODS)
def test_what_was_stored_with_ipv6(
    hosts: dict[str, Namespace], vipctl: Vipctl, method: str
) -> None:
    stored_elsewhere(vipctl.state_dir, method)
    for words in (("--check", "restore"), ("restore",), ("restore",)):
        code, error = vipctl.error(*words)
        assert code == 5, error
        assert "web is not balanced (IPv6), as " in error["message"]
        if method != "shim":
            assert "IPv6 VIPs of web are not accepted, as " in error["message"]
    wait_until(lambda: answers(hosts), "the real server answers")
    done = vipctl("add-range", "198.51.100.0/24", "--service=web")
    assert (done["changed"], done["restored"]) == (True, False)
    vipctl("remove-range", VIP6)
    done = vipctl("remove-real", "web", "fd00:1::11")
    assert (done["changed"], "IPv6" in str(done["warnings"])) == (True, False)
    assert vipctl("restore")["changed"] is False
    vipctl("remove-service", "web")


def test_nothing_of_ipv6_can_be_new(hosts: dict[str, Namespace], vipctl: Vipctl) -> None:
    vipctl("add-range", VIP4, "--service=web", "--real=10.0.1.11", "--method=fwmark")
    for words in (("add-range", VIP6, "--service=web"), ("add-real", "web", "fd00:1::11")):
        before = vipctl("export")
        code, error = vipctl.error("--check", *words)
        assert code == 5, error
        assert vipctl.error(*words)[0] in (4, 5)
        assert vipctl("export") == before
    wait_until(lambda: answers(hosts), "the real server answers")
    vipctl("remove-service", "web")


def test_a_proxy(vipctl: Vipctl) -> None:
    vipctl("add-range", VIP4, "--service=shop", "--to-port=8080", "--method=tproxy")
    assert vipctl("restore")["changed"] is False
    vipctl("remove-service", "shop")
