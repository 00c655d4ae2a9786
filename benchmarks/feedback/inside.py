"""In the guest: `python -m benchmarks.feedback.inside RECORD SECONDS SEEDS POLICIES KINDS`."""

import asyncio
import itertools
import json
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from benchmarks.feedback.learned import Learned
from benchmarks.feedback.page import KINDS, POLICIES
from benchmarks.feedback.site import AGENT, PORT, SLOWER, VIP, WORKERS, Clients, Server, start
from tests.harness.command import Vipctl
from tests.harness.lab import Lab, lab
from tests.harness.netns import execute
from tests.netns.test_watch import watching
from vipctl.health.feedback import PERIOD
from vipctl.linux import ipvs
from vipctl.services.service import Service
from vipctl.state import verdicts
from vipctl.state.store import Store

LOAD = 0.55  # of the capacity
WARM = 0.1  # of the time, of which nothing counts
ILL = (0.5, 0.8)  # when the largest server is slow, or fails
PATIENCE = 300.0  # a guest takes long to start Python
SCALE = 100


def main() -> int:
    """Measure each policy with each kind of clients, once for each seed."""
    record, seconds, seeds, policies, kinds = sys.argv[1:]
    execute(["modprobe", "ip_vs"])
    with tempfile.TemporaryDirectory() as directory, lab(reals=8) as net:
        vipctl = Vipctl(net.director, Path(directory, "state"))
        reals = (f"--real={net.real4(n)}:{PORT}" for n in range(8))
        vipctl("add-range", VIP, "--service=web", f"--port=tcp/{PORT}", *reals)
        cells = itertools.product(policies.split(","), kinds.split(","), range(int(seeds)))
        with Path(record).open("a") as out:
            for policy, kind, seed in cells:
                with _balanced(vipctl, policy, Path(directory, "log")):
                    found = asyncio.run(_cell(net, vipctl, policy, kind, seed, float(seconds)))
                line = {"policy": policy, "kind": kind, "seed": seed} | found
                print(line, flush=True)
                out.write(json.dumps(line) + "\n")
                out.flush()
    return 0


@contextmanager
def _balanced(vipctl: Vipctl, policy: str, log: Path) -> Iterator[None]:
    """With the weights that are stored. The daemon, which would keep them so, runs for feedback."""
    scheduler, by = POLICIES[policy]
    fed = by == "load"
    options = (f"--agent={AGENT}", "--feedback=load") if fed else ("--agent=no", "--feedback=no")
    vipctl("set-service", "web", f"--scheduler={scheduler}", *options)
    vipctl("restore")
    with watching(vipctl, log, limit=PATIENCE) if fed else nullcontext():
        yield
    Path(verdicts.path(vipctl.state_dir)).unlink(missing_ok=True)


async def _cell(
    net: Lab, vipctl: Vipctl, policy: str, kind: str, seed: int, seconds: float
) -> dict[str, float]:
    requests, gap, illness = KINDS[kind]
    rng = random.Random(f"{kind} {seed}")
    servers = await start(net, rng)
    learning = asyncio.create_task(_learn(vipctl, servers)) if policy == "learned" else None
    ill = asyncio.create_task(_fall_ill(servers[-1], illness, seconds))
    clients = Clients(net, rng)
    await clients.come(seconds, LOAD, requests, gap)
    for task in (ill, learning):
        if task:
            task.cancel()
    return summary(clients.found, seconds)


async def _fall_ill(server: Server, illness: str, seconds: float) -> None:
    await asyncio.sleep(ILL[0] * seconds)
    server.slower, server.broken = (SLOWER, False) if illness == "slow" else (1.0, True)
    await asyncio.sleep((ILL[1] - ILL[0]) * seconds)
    server.slower, server.broken = 1.0, False


async def _learn(vipctl: Vipctl, servers: list[Server]) -> None:
    """Weights by the policy that learns, edited here: no daemon knows of it."""
    learned = Learned(WORKERS)
    with vipctl.host, Store.read(vipctl.state_dir) as store:
        service = store.services()["web"]
    endpoints = [real.endpoint for real in service.reals]
    while True:
        await asyncio.sleep(PERIOD)
        seen = {e: _seen(server) for e, server in zip(endpoints, servers, strict=True)}
        factors = learned.step(seen)
        reals = [r._replace(weight=round(SCALE * factors[r.endpoint])) for r in service.reals]
        with vipctl.host:
            _weigh(service._replace(reals=tuple(reals)))


def _seen(server: Server) -> tuple[float, float]:
    rate, latency = server.requests / PERIOD, server.waited / max(1, server.requests)
    server.requests, server.waited = 0, 0.0
    return rate, latency or 1.0


def _weigh(service: Service) -> None:
    wanted = ipvs.desired([service])
    ipvs.add(wanted, ipvs.read({service.fwmark}))


def summary(found: list[tuple[float, float | None]], seconds: float) -> dict[str, float]:
    """Milliseconds of all that was answered after the beginning, and while one server was ill."""
    counted = [(when, waited) for when, waited in found if when >= WARM * seconds]
    late = [w for when, w in counted if ILL[0] * seconds <= when < ILL[1] * seconds and w]
    every = [waited for _, waited in counted if waited]
    return {
        "p50": quantile(every, 0.5), "p99": quantile(every, 0.99),
        "ill50": quantile(late, 0.5), "ill99": quantile(late, 0.99),
        "requests": len(counted), "errors": len(counted) - len(every),
    }  # fmt: skip


def quantile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return round(1000 * ordered[min(len(ordered) - 1, int(len(ordered) * part))]) if ordered else 0


if __name__ == "__main__":
    sys.exit(main())
