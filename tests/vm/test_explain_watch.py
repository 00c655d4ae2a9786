"""`explain --watch` where there is IPVS: it takes the packet, and has it leave."""

import json
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import tcp_get
from tests.harness.waiting import wait_until
from tests.vm.conftest import OWNED, traceless

VIP, REALS = "203.0.113.7", ("10.0.1.11", "10.0.1.12")
TABLE = ["nft", "list", "table", "inet", "vipctl_trace"]


def watched(net: Lab, vipctl: Vipctl) -> dict[str, Any]:
    """What is said of a packet of the client's."""

    def is_watching() -> bool:
        return net.director.run(TABLE, check=False).returncode == 0

    def ask() -> None:
        wait_until(is_watching, "it watches")
        tcp_get(net.client, VIP, 80)

    thread = Thread(target=ask)
    thread.start()
    done = vipctl.text("--json", "explain", VIP, "tcp/80", "--from=10.0.0.2", "--watch=60s")
    thread.join()
    (found,) = (s for s in json.loads(done.stdout)["steps"] if s["name"] == "watch")
    return dict(found)


@pytest.mark.parametrize("forward", ["nat", "dr", "tun"])
def test_ipvs_sends_it_on(net: Lab, direct: Lab, tmp_path: Path, forward: str) -> None:
    lab = net if forward == "nat" else direct
    with traceless(lab.director, tmp_path) as vipctl:
        words = ["--service=web", "--set-sysctls", *(f"--real={real}" for real in REALS)]
        vipctl("add-range", OWNED[0], f"--forward={forward}", *words)
        found = watched(lab, vipctl)
        assert (found["state"], found["says"]) == (
            "well",
            "a packet came, and IPVS sent it on by eth1",
        )
        vipctl("drain-real", "web", *REALS)
        assert watched(lab, vipctl)["state"] != "well"
