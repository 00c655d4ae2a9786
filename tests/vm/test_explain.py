"""`explain` where there is IPVS: the cause is named and no other, and none where VIPs answer."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.harness import module
from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import execute
from tests.harness.traffic import tcp_get
from tests.vm.conftest import OWNED, traceless
from tests.vm.observe import SHORT

VIPS = {4: "203.0.113.7", 6: "2001:db8:1::7"}
REALS = ("10.0.1.11", "10.0.1.12", "fd00:1::11", "fd00:1::12")
REAL_OPTIONS = [f"--real={real}" for real in REALS]
METHODS = ("fwmark", "fwmark-iptables", "route", "shim")
DESTS = {4: REALS[:2], 6: [f"[{real}]" for real in REALS[2:]]}
FORWARDING = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
FULL = "net.netfilter.nf_conntrack_max"
TRACKING = """table inet tracking {
    chain c { type filter hook input priority 0; ct state new; }
}"""
CLIENTS = {4: "10.0.0.2", 6: "fd00::2"}


class Ailment(NamedTuple):
    """A cause; how somebody makes it, and what ends it: a shell's words, `vipctl …` vipctl's."""

    cause: str
    make: tuple[str, ...]
    end: tuple[str, ...] = ("vipctl restore",)


def _of_each(words: str) -> tuple[str, ...]:
    """For each real server, of both IP versions."""
    six = {4: "", 6: " -6"}
    return tuple(
        words.format(dest=dest, six=six[version]) for version in DESTS for dest in DESTS[version]
    )


GONE = "ipvsadm -d -f 4096{six} -r {dest}:0"
AILMENTS = [
    Ailment("ipvs-service-missing", ("ipvsadm -D -f 4096", "ipvsadm -D -f 4096 -6")),
    Ailment("ipvs-real-missing", _of_each(GONE)),
    Ailment("weights-altered", _of_each("ipvsadm -e -f 4096{six} -r {dest}:0 -m -w 0")),
    Ailment(
        "all-drained",
        (f"vipctl drain-real web {' '.join(REALS)}",),
        (f"vipctl undrain-real web {' '.join(REALS)}",),
    ),
    Ailment(
        "forwarding-off",
        tuple(f"sysctl -w {name}=0" for name in FORWARDING.values()),
        tuple(f"sysctl -w {name}=1" for name in FORWARDING.values()),
    ),
    Ailment("passive", ("vipctl deactivate",), ("vipctl activate",)),
]


@pytest.fixture(scope="module", autouse=True)
def vip_shim() -> Iterator[None]:
    """The module, for a method."""
    with module.loaded():
        yield


def explained(vipctl: Vipctl, version: int) -> dict[str, Any]:
    client = ["--from", CLIENTS[version]]
    done = vipctl.text("--json", "explain", VIPS[version], "tcp/80", *client)
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.code == (3 if found["causes"] else 0), done
    return found


def causes(vipctl: Vipctl) -> list[list[str]]:
    """Of both IP versions."""
    return [explained(vipctl, version)["causes"] for version in VIPS]


def do(vipctl: Vipctl, lines: tuple[str, ...]) -> None:
    for line in lines:
        first, *rest = line.split()
        if first == "vipctl":
            vipctl(*rest)
        else:
            vipctl.host.run([first, *rest])


@pytest.mark.parametrize("method", METHODS)
def test_the_cause_is_named_and_no_other(net: Lab, vipctl: Vipctl, method: str) -> None:
    words = ["--service=web", f"--method={method}", "--forward=nat", "--set-sysctls"]
    vipctl("add-range", *OWNED, *words, *REAL_OPTIONS)
    for vip in VIPS.values():
        assert tcp_get(net.client, vip, 80, timeout=SHORT).answered
    assert causes(vipctl) == [[], []]
    for ailment in AILMENTS:
        do(vipctl, ailment.make)
        try:
            found = causes(vipctl)
        finally:
            do(vipctl, ailment.end)
        assert found == [[ailment.cause]] * 2, ailment.cause
    assert causes(vipctl) == [[], []]


@pytest.mark.parametrize("method", ["fwmark", "shim"])
@pytest.mark.parametrize("forward", ["dr", "tun"])
def test_nothing_ails_what_answers(
    direct: Lab, vipctl_direct: Vipctl, method: str, forward: str
) -> None:
    words = ["--service=web", f"--method={method}", f"--forward={forward}", "--set-sysctls"]
    vipctl_direct("add-range", OWNED[0], *words, *REAL_OPTIONS[:2])
    assert tcp_get(direct.client, VIPS[4], 80, timeout=SHORT).answered
    found = explained(vipctl_direct, 4)
    assert (found["causes"], found["hints"]) == ([], [])


def test_a_real_server_that_ipvs_lacks_is_no_cause_while_others_serve(
    net: Lab, vipctl: Vipctl
) -> None:
    vipctl("add-range", *OWNED, "--service=web", "--method=fwmark", "--set-sysctls", *REAL_OPTIONS)
    do(vipctl, _of_each(GONE)[::2])
    for version, vip in VIPS.items():
        found = explained(vipctl, version)
        assert tcp_get(net.client, vip, 80, timeout=SHORT).answered
        assert found["causes"] == []
        told = {s["state"] for s in found["steps"] if "not in IPVS" in s["says"]}
        assert told == {"unknown"}


def test_services_of_others(net: Lab, vipctl: Vipctl) -> None:
    """As ipvsadm, or keepalived, makes them and takes them away."""
    vipctl("add-range", *OWNED, "--fwmark", "17", "--method=fwmark")
    assert causes(vipctl) == [["ipvs-service-missing"]] * 2
    net.director.run(["ipvsadm", "-A", "-f", "17", "-s", "sh"])
    try:
        assert explained(vipctl, 4)["causes"] == ["no-real-server"]
        net.director.run(["ipvsadm", "-a", "-f", "17", "-r", "10.0.1.11:0", "-m", "-w", "0"])
        assert explained(vipctl, 4)["causes"] == ["all-drained"]
        net.director.run(["ipvsadm", "-a", "-f", "17", "-r", "10.0.1.12:0", "-m"])
        assert explained(vipctl, 4)["causes"] == ["scheduler-without-fallback"]
        net.director.run(["ipvsadm", "-E", "-f", "17", "-s", "rr"])
        assert explained(vipctl, 4)["causes"] == []
    finally:
        net.director.run(["ipvsadm", "-D", "-f", "17"])


def test_settings_that_clients_notice_are_hints(direct: Lab, tmp_path: Path) -> None:
    with traceless(direct.director, tmp_path) as vipctl:
        words = ["--service=web", "--forward=tun", "--method=fwmark", *REAL_OPTIONS[:2]]
        vipctl("add-range", OWNED[0], *words)
        assert hints(vipctl) == {"sysctl", "tunnel-mtu"}
        vipctl("set-service", "web", "--set-sysctls", "--forward=dr")
        assert hints(vipctl) == set()
        vipctl("drain-real", "web", REALS[0])
        direct.director.sysctl("net.ipv4.vs.conn_reuse_mode", 0)
        assert hints(vipctl) == {"port-reuse"}
        direct.director.sysctl("net.ipv4.vs.conn_reuse_mode", 1)
        direct.director.run(["ipvsadm", "--start-daemon", "backup", "--mcast-interface", "eth1"])
        try:
            assert hints(vipctl) == {"sync-loop"}
        finally:
            direct.director.run(["ipvsadm", "--stop-daemon", "backup"])
        assert explained(vipctl, 4)["causes"] == []


def hints(vipctl: Vipctl) -> set[str]:
    return {hint["id"] for hint in explained(vipctl, 4)["hints"]}


def test_a_full_table_of_connections(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *OWNED, "--service=web", "--method=fwmark", *REAL_OPTIONS, "--set-sysctls")
    net.director.run(["nft", "-f", "-"], input=TRACKING)
    before = execute(["sysctl", "-n", FULL]).stdout.strip()
    try:
        assert tcp_get(net.client, "10.0.0.1", 22, timeout=SHORT).answered
        assert causes(vipctl) == [[], []]
        execute(["sysctl", "-w", f"{FULL}=1"])  # of all namespaces
        assert causes(vipctl) == [["conntrack-full"]] * 2
    finally:
        execute(["sysctl", "-w", f"{FULL}={before}"])
        net.director.run(["nft", "delete", "table", "inet", "tracking"])
