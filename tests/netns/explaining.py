"""What tests of `explain` begin with, and how they ask."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conformance.servers import WebServer, stand_in
from tests.harness.command import Vipctl
from tests.harness.lab import Lab, lab
from tests.netns.ailments import BY_VERSION, TPROXY, Ailment
from tests.netns.stored import balance
from vipctl.diagnosis.causes import CAUSES, RESTORE

NO_IPVS = "no-ipvs"
PROXY = ("--to-port", "8080")
RANGES = [found["range"] for found in BY_VERSION.values()]


@contextmanager
def site(directory: Path, method: str, ailment: Ailment) -> Iterator[tuple[Lab, Vipctl]]:
    """A director that nothing ails but what is stored: its default route leads to the client."""
    with lab(reals=0) as net:
        net.director.ip("route add default via 10.0.0.2", "route add ::/0 via fd00::2")
        vipctl = Vipctl(net.director, directory / "state")
        more = PROXY if method == TPROXY else ()
        first = "fwmark" if method == "shim" else method
        vipctl("add-range", *RANGES, "--service", "web", "--method", first, *more)
        if method != TPROXY:
            balance(vipctl, method, ailment.reals, ailment.forward, ailment.scheduler)
        elif ailment.proxy:
            for bind in ("0.0.0.0", "::"):
                stand_in(WebServer(net.director, bind, 8080, "proxy").socket)
        yield net, vipctl


def explained(vipctl: Vipctl, version: int, asked: str = "") -> dict[str, Any]:
    """What `explain` says of a VIP; its exit code says whether there is a cause."""
    vip = BY_VERSION[version]["vip"]
    done = vipctl.text("--json", "explain", vip, "tcp/80", *asked.split())
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.code == (3 if found["causes"] else 0), done
    ill = [step for step in found["steps"] if step["state"] == "cause"]
    assert all(step["cause"] in CAUSES and step["fix"] for step in ill)
    assert {step["cause"] for step in ill} == set(found["causes"])
    if RESTORE in [step["fix"] for step in ill]:
        assert RESTORE not in [hint["fix"] for hint in found["hints"]], "what cures is told once"
    return found


def causes(vipctl: Vipctl, version: int, asked: str = "") -> set[str]:
    """Those named, without the one that is always there."""
    return set(explained(vipctl, version, asked)["causes"]) - {NO_IPVS}


def hints(found: dict[str, Any]) -> list[str]:
    """The ids of what is told besides."""
    return [hint["id"] for hint in found["hints"]]
