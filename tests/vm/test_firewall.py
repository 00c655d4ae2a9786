"""The recipes of docs/firewall.md, as they stand: they let through what they should and no more.

Each of their rules is needed: without it something is lost. What is lost of VIPs, vipctl names.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ftplib import Error
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.harness import ftp, module
from tests.harness.command import Vipctl
from tests.harness.ftp import FtpServer
from tests.harness.lab import Lab
from tests.harness.netns import Namespace, execute
from tests.harness.traffic import Outcome, Reply, tcp_get, tcp_post, udp_ask
from tests.netns.firewalls import FIREWALLD, ICMP6, Firewall, own
from tests.vm.conftest import OWNED, traceless
from tests.vm.observe import SHORT, at_once

RECIPES = Path(__file__).parents[2] / "examples" / "firewall"
TABLE = ["inet", "director"]
VIP4, VIP6 = "203.0.113.7", "2001:db8:1::7"
REALS = ["--real=10.0.1.11", "--real=10.0.1.12", "--real=fd00:1::11", "--real=fd00:1::12"]
LOOSE = "net.netfilter.nf_conntrack_tcp_loose"
METHODS = {"nat": ("fwmark", "shim", "route"), "dr": ("fwmark", "shim"), "tun": ("fwmark", "shim")}
UNNEEDED = {"nat": 0, "dr": 2}
DOCKER = """
-N DOCKER
-N DOCKER-USER
%s
-A FORWARD -j DOCKER-USER
-A DOCKER ! -i docker0 -o docker0 -j DROP
-P FORWARD DROP
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 -j ACCEPT
"""
USERS = "-A DOCKER-USER -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
OUTPUT = own("ct state established,related accept").replace("hook input", "hook output")
FORWARD = own("ct state established,related accept", ICMP6).replace("hook input", "hook forward")
# Firewalls, and the forwarding methods whose packets they drop.
WHOLE = {
    "docker": (Firewall(DOCKER % "", False, tool="nft"), ["nat"]),
    "docker, legacy": (Firewall(DOCKER % "", False, tool="legacy"), ["nat"]),
    "docker, its place for rules of others": (Firewall(DOCKER % USERS, True, tool="nft"), []),
    "firewalld": (Firewall(FIREWALLD % "", False), ["nat", "dr", "tun"]),
    "firewalld with the port": (Firewall(FIREWALLD % "meta mark 0x1000 accept", True), []),
    "answers": (Firewall(FORWARD, True), []),
    "what IPVS sends": (Firewall(OUTPUT, False), ["nat", "dr", "tun"]),
}
Ask = Callable[[], Reply]


@pytest.fixture(scope="module", autouse=True)
def vip_shim() -> Iterator[None]:
    """The module, for a method; and the kernel's part in FTP."""
    with module.loaded():
        execute(["modprobe", "--all", "ip_vs_ftp", "nf_conntrack_ftp"])
        yield


@contextmanager
def firewalled(host: Namespace, *recipes: str) -> Iterator[None]:
    """With one or more of the files; connections that are under way are not picked up."""
    for name in recipes:
        host.run(["nft", "-f", str(RECIPES / name)])
    host.sysctl(LOOSE, 0)
    try:
        yield
    finally:
        host.sysctl(LOOSE, 1)
        host.run(["nft", "delete", "table", *TABLE])


def to_vips(net: Lab, forwarding: str) -> dict[str, Ask]:
    """What clients of a service do; by tun of IPv4, as these real servers have a tunnel of it."""
    vips = {4: VIP4} if forwarding == "tun" else {4: VIP4, 6: VIP6}
    return {
        f"{name} of IPv{version}": ask
        for version, vip in vips.items()
        for name, ask in {
            "TCP": partial(tcp_post, net.client, vip, 80, 100_000, timeout=SHORT),
            "UDP": partial(udp_ask, net.client, vip, 80, timeout=SHORT),
            "fragments": partial(udp_ask, net.client, vip, 80, 1600, timeout=SHORT),
        }.items()
    }


def pinged(net: Lab, address: str) -> Reply:
    done = net.client.run(["ping", "-c1", f"-W{SHORT}", address], check=False)
    return Reply(Outcome.TIMEOUT if done.returncode else Outcome.ANSWERED)


def to_others(net: Lab) -> dict[str, Ask]:
    """What a firewall lets through beside them."""
    return {
        "ping": partial(pinged, net, "10.0.0.1"),
        "sshd": partial(tcp_get, net.client, "10.0.0.1", 22, timeout=SHORT),
        "loopback": partial(tcp_get, net.director, "127.0.0.1", 53, timeout=SHORT),
        "the director's own": partial(tcp_get, net.director, "10.0.1.11", 80, timeout=SHORT),
    }


def dropped(net: Lab) -> dict[str, Ask]:
    """What it is there for."""
    return {
        "a port of the director": partial(tcp_get, net.client, "10.0.0.1", 53, timeout=SHORT),
        "a port of a VIP": partial(tcp_get, net.client, VIP4, 53, timeout=SHORT),
        "sshd on a VIP": partial(tcp_get, net.client, VIP4, 22, timeout=SHORT),
        "a real server": partial(tcp_get, net.client, "10.0.1.11", 80, timeout=SHORT),
    }


def lost(asks: dict[str, Ask]) -> set[str]:
    """Those that get no answer."""
    replies = at_once(*asks.values())
    return {name for name, reply in zip(asks, replies, strict=True) if not reply.answered}


def chains(vipctl: Vipctl) -> list[str]:
    """Those that `status` names."""
    return [text for text in vipctl("status")["findings"] if text.startswith("chain ")]


@pytest.fixture(params=["nat", "dr", "tun"])
def forwarding(request: pytest.FixtureRequest) -> str:
    """Each method by which IPVS forwards."""
    name: str = request.param
    return name


@pytest.fixture
def site(
    request: pytest.FixtureRequest, forwarding: str, tmp_path: Path
) -> Iterator[tuple[Lab, Vipctl]]:
    """Hosts for it, and vipctl on their director."""
    built: Lab = request.getfixturevalue("net" if forwarding == "nat" else "direct")
    with traceless(built.director, tmp_path) as command:
        yield built, command


def test_the_recipe_lets_services_through_and_no_more(
    site: tuple[Lab, Vipctl], forwarding: str
) -> None:
    net, vipctl = site
    words = [*OWNED, "--service=web", *REALS, f"--forward={forwarding}", "--set-sysctls"]
    with firewalled(net.director, "director.nft"):
        vipctl("add-range", *words, "--method=fwmark")
        for method in METHODS[forwarding]:
            if method == "route":
                net.director.run(["nft", "-f", str(RECIPES / "route.nft")])
            vipctl("set-service", "web", "--method", method)
            asked = to_vips(net, forwarding) | to_others(net) | dropped(net)
            assert lost(asked) == dropped(net).keys(), method
            assert chains(vipctl) == [], method


def rules(host: Namespace) -> list[dict[str, Any]]:
    """Of the recipe's table."""
    listed = json.loads(host.run(["nft", "-j", "list", "table", *TABLE]).stdout)["nftables"]
    return [item["rule"] for item in listed if "rule" in item]


@pytest.mark.parametrize("forwarding", UNNEEDED, indirect=True)
def test_each_rule_is_needed(site: tuple[Lab, Vipctl], forwarding: str) -> None:
    """Those of FORWARD, and the marks that these look for, by nat alone."""
    net, vipctl = site
    found = []
    with firewalled(net.director, "director.nft"):
        words = [*OWNED, "--service=web", *REALS, f"--forward={forwarding}"]
        vipctl("add-range", *words, "--method=fwmark", "--set-sysctls")
        for number in range(len(rules(net.director))):
            rule = rules(net.director)[number]
            one = [*TABLE, rule["chain"], "handle", str(rule["handle"])]
            net.director.run(["nft", "delete", "rule", *one])
            found.append((lost(to_vips(net, forwarding)), lost(to_others(net)), chains(vipctl)))
            net.director.run(["nft", "-f", str(RECIPES / "director.nft")])
    assert len([1 for vips, others, _ in found if not (vips or others)]) == UNNEEDED[forwarding]
    assert all(vips for vips, _, named in found if named), found
    unnamed = [vips for vips, _, named in found if vips and not named]
    assert len(unnamed) == (1 if forwarding == "nat" else 0), found  # who sets a mark is not known


def test_what_drops_packets_is_named(site: tuple[Lab, Vipctl], forwarding: str) -> None:
    net, vipctl = site
    words = [*OWNED, "--service=web", *REALS, f"--forward={forwarding}", "--set-sysctls"]
    vipctl("add-range", *words, "--method=fwmark")
    for name in WHOLE if forwarding == "nat" else ("docker", "firewalld", "what IPVS sends"):
        firewall, affected = WHOLE[name]
        firewall.load(net.director)
        try:
            missed, named = lost(to_vips(net, forwarding)), chains(vipctl)
        finally:
            firewall.clear(net.director)
        assert bool(missed) == (forwarding in affected), (name, missed)
        assert bool(missed) == bool(named), (name, missed, named)


@pytest.fixture
def served(net: Lab) -> Iterator[Lab]:
    """Real servers that speak FTP."""
    servers = [FtpServer(r, bind, ftp.PORT, "ftp") for r in net.reals for bind in ("0.0.0.0", "::")]
    yield net
    for server in servers:
        server.close()


def downloads(net: Lab) -> dict[str, str]:
    """What becomes of the file, by mode and IP version."""
    asked = [(mode, vip) for vip in (VIP4, VIP6) for mode in ftp.modes(vip)]
    words = at_once(*(partial(_downloaded, net, vip, mode) for mode, vip in asked))
    return {f"{mode} {vip}": word for (mode, vip), word in zip(asked, words, strict=True)}


def _downloaded(net: Lab, vip: str, mode: str) -> str:
    try:
        got = ftp.download(net.client, vip, mode, 2 * SHORT)
    except (OSError, EOFError, Error) as e:
        return type(e).__name__
    return "yes" if got == ftp.FILE else f"{len(got)} bytes"


@pytest.mark.parametrize("method", ["fwmark", "shim"])
def test_data_of_ftp_is_related(served: Lab, tmp_path: Path, method: str) -> None:
    """By the helper: the service names no other port, and the firewall opens none."""
    with traceless(served.director, tmp_path) as vipctl:
        with firewalled(served.director, "director.nft", "ftp.nft"):
            words = [*OWNED, "--service=ftp", *REALS, "--port=tcp/21", f"--method={method}"]
            vipctl("add-range", *words, "--set-sysctls")
            assert set(downloads(served).values()) == {"yes"}
            served.director.run(["nft", "flush", "chain", *TABLE, "helpers"])
            without = downloads(served)
            assert "yes" not in without.values(), without
        vipctl("remove-service", "ftp")
