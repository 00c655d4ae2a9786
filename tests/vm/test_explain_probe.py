"""`explain --probe` through IPVS: who lacks the VIP with dr and tun is found."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import tcp_get
from tests.vm.conftest import OWNED, served_lab
from tests.vm.observe import SHORT, ipvs
from vipctl.diagnosis.probes import COMMAND
from vipctl.linux.ipvs import paths
from vipctl.linux.ipvs.paths import Path
from vipctl.services.real import RealServer, parse_real

REALS = ("10.0.1.11", "10.0.1.12")
WEB = ("add-range", OWNED[0], "--service=web", "--set-sysctls", *(f"--real={r}" for r in REALS))
VIP, CLIENT = "203.0.113.7", "10.0.0.2"
STATEFUL = """table ip wall { chain input { type filter hook input priority 0; policy drop
  ct state established,related accept
  tcp dport 80 accept
}
}"""


def explained(vipctl: Vipctl) -> dict[str, Any]:
    done = vipctl.text("--json", "explain", VIP, "tcp/80", f"--from={CLIENT}", "--probe")
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.code == (3 if found["causes"] else 0), done
    return found


def states(found: dict[str, Any]) -> list[str]:
    """Of the real servers that were asked."""
    return [str(s["state"]) for s in found["steps"] if s["name"].startswith("probe ")]


@pytest.fixture(scope="module")
def direct() -> Iterator[Lab]:
    """As the one of all tests; the director has a default route, as directors have."""
    with served_lab(lambda director: director.ip("route add default via 10.0.0.2")) as built:
        for real in built.reals:
            built.accept_vips(real, *OWNED, tun=True)
        yield built


@contextmanager
def without_vips(net: Lab) -> Iterator[None]:
    """The second real server does not have them."""
    net.reals[1].ip(f"route del local {OWNED[0]} dev lo")
    try:
        yield
    finally:
        net.reals[1].ip(f"route add local {OWNED[0]} dev lo")


@pytest.mark.parametrize("forward", ["dr", "tun"])
def test_a_real_server_without_the_vip(direct: Lab, vipctl_direct: Vipctl, forward: str) -> None:
    vipctl_direct(*WEB, f"--forward={forward}")
    before = ipvs(direct.director)
    found = explained(vipctl_direct)
    assert (found["causes"], found["hints"], states(found)) == ([], [], ["well", "well"])
    assert "unknown" not in {step["state"] for step in found["steps"]}
    assert tcp_get(direct.client, VIP, 80, timeout=SHORT).answered
    with without_vips(direct):
        found = explained(vipctl_direct)
        assert (found["causes"], states(found)) == (["real-lacks-vip"], ["well", "cause"])
    assert ipvs(direct.director) == before


def test_a_firewall_that_may_drop_answers_is_no_cause(direct: Lab, vipctl_direct: Vipctl) -> None:
    """It knows nothing of connections that IPVS does not have tracked."""
    vipctl_direct(*WEB, "--forward=dr")
    direct.director.run(["nft", "-f", "-"], input=STATEFUL)
    try:
        found = explained(vipctl_direct)
    finally:
        direct.director.run(["nft", "delete", "table", "ip", "wall"])
    assert (found["causes"], states(found)) == ([], ["unknown", "unknown"])


def test_what_a_killed_command_left_the_next_one_removes(
    direct: Lab, vipctl_direct: Vipctl
) -> None:
    vipctl_direct(*WEB, "--forward=dr")
    before = ipvs(direct.director)
    real: RealServer = parse_real("10.0.1.99")._replace(forward="dr")
    with direct.director:
        paths.sync([Path(4, real)], COMMAND)
    assert ipvs(direct.director) != before
    assert explained(vipctl_direct)["causes"] == []
    assert ipvs(direct.director) == before


def test_nat_is_asked_without_ipvs(net: Lab, vipctl: Vipctl) -> None:
    vipctl(*WEB, "--forward=nat")
    found = explained(vipctl)
    assert (found["causes"], states(found)) == ([], ["well", "well"])
    assert "unknown" not in {step["state"] for step in found["steps"]}
