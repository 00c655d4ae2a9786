"""Metrics of what IPVS and the module count; all others are in tests/netns."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.harness import module
from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.waiting import wait_until
from tests.vm.conftest import served_lab, traceless
from tests.vm.observe import tcp, udp

VIP, VIP6 = "203.0.113.7", "2001:db8:1::7"
A, B = "10.0.1.11", "10.0.1.12"
Metrics = dict[str, float]


def measured(vipctl: Vipctl) -> Metrics:
    """By name and labels, as they are printed."""
    done = vipctl.text("metrics")
    assert (done.code, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def of(found: Metrics, name: str, **labels: str) -> float:
    said = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return found[f"vipctl_{name}{{{said}}}"]


@pytest.fixture
def unused(tmp_path: Path) -> Iterator[tuple[Lab, Vipctl]]:
    """A director that has counted nothing.

    IPVS keeps a removed real server for two minutes; one that comes back within these begins with
    what was not yet added up.
    """
    with served_lab() as built, traceless(built.director, tmp_path) as command:
        yield built, command


def test_what_ipvs_counts(unused: tuple[Lab, Vipctl]) -> None:
    net, vipctl = unused
    reals = (f"--real={A},weight=2", f"--real={B}", "--real=fd00:1::11")
    vipctl("add-range", VIP, VIP6, "--service", "web", *reals, "--scheduler", "rr")
    had = tcp(net.client, [VIP] * 6)
    assert set(had) == {"real1", "real2"}
    assert tcp(net.client, [VIP6] * 2) == {"real1": 2}
    servers = [(A, "4", had["real1"]), (B, "4", had["real2"]), ("fd00:1::11", "6", 2)]
    for real, version, number in servers:
        labels = {"service": "web", "real": real, "ip_version": version}
        wait_until(partial(counts, vipctl, number, labels), f"{real} has had {number}")
    found = measured(vipctl)
    assert of(found, "part_success", part="ipvs") == 1
    assert of(found, "real_weight", service="web", real=A) == 2
    wait_until(lambda: adds_up(measured(vipctl)), "the last packets have come")
    tcp(net.client, [VIP])
    wait_until(lambda: connections(vipctl) == (7, 2), "IPVS has added up again")


def counts(vipctl: Vipctl, number: int, labels: dict[str, str]) -> bool:
    """Whether a real server had so many connections: each counter is added up in its own time."""
    found = measured(vipctl)
    now = [of(found, f"real_connections_{state}", **labels) for state in ("active", "inactive")]
    return of(found, "real_connections_total", **labels) == sum(now) == number


def connections(vipctl: Vipctl) -> tuple[float, float]:
    """All that a service has had, by IP version."""
    found = measured(vipctl)
    four, six = (
        of(found, "service_connections_total", service="web", ip_version=version)
        for version in ("4", "6")
    )
    return four, six


def adds_up(found: Metrics) -> bool:
    """Whether a service has had what its real servers have had."""
    whats = [f"{way}_{unit}" for way in ("incoming", "outgoing") for unit in ("packets", "bytes")]
    labels = {"service": "web", "ip_version": "4"}
    sums = {
        what: sum(of(found, f"real_{what}_total", real=real, **labels) for real in (A, B))
        for what in whats
    }
    return 0 not in sums.values() and sums == {
        what: of(found, f"service_{what}_total", **labels) for what in whats
    }


def test_drift_of_ipvs(net: Lab, vipctl: Vipctl) -> None:
    for name, vip in (("web", VIP), ("shop", "198.51.100.7")):
        vipctl("add-range", vip, "--service", name, f"--real={A}")
    mark = vipctl("list-services")["services"]["web"]["fwmark"]
    assert measured(vipctl)["vipctl_drift"] == 0
    net.director.run(["ipvsadm", "-D", "-f", str(mark)])
    found = measured(vipctl)
    assert found["vipctl_drift"] == of(found, "service_drift", service="web") == 1
    assert of(found, "service_drift", service="shop") == 0
    vipctl("restore")
    assert measured(vipctl)["vipctl_drift"] == 0


def test_ports_of_source_nat(net: Lab, vipctl: Vipctl) -> None:
    words = (f"--real={A}", "--source-nat", "auto", "--port", "tcp/80")
    vipctl("add-range", VIP, "--service", "web", *words)
    tcp(net.client, [VIP] * 5)
    found = measured(vipctl)
    assert of(found, "real_source_ports_used", service="web", real=A) == 5
    assert of(found, "real_source_ports", service="web", real=A) == 64512


def test_the_sync(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    vipctl("add-range", VIP, "--service", "web", f"--real={A}")
    assert measured(vipctl)["vipctl_sync_configured"] == 0
    vipctl("set-sync", "--interface", "eth1")
    found = measured(vipctl)
    assert found["vipctl_sync_configured"] == 1
    assert of(found, "sync_running", daemon="master") == 1
    net.director.run(["ipvsadm", "--stop-daemon", "backup"])
    wait_until(lambda: of(measured(vipctl), "sync_running", daemon="backup") == 0, "it is stopped")
    vipctl("remove-sync")


def test_what_the_module_counts(net: Lab, vipctl: Vipctl) -> None:
    words = (f"--real={A}", "--port", "udp/53", "--method", "shim")
    with module.loaded():
        vipctl("add-range", VIP, "--service", "web", *words)
        udp(net.client, [VIP] * 4, 53)
        tcp(net.client, [VIP], 81)
        found = measured(vipctl)
        vipctl("remove-service", "web")
    assert of(found, "service_accepted_packets_total", service="web") == 4
    assert of(found, "service_left_over_packets_total", service="web") >= 1
    assert of(found, "service_refused_packets_total", service="web") == 0
    assert [name for name in found if "vipctl_build_info" in name and 'module="0.1.0"' in name]
