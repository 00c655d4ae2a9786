"""In the guest: measure every case, one line of JSON each.

    python -m benchmarks.datapath.inside RECORD SENDER METHODS SIZES

The guest counts instructions in place of time: a nanosecond of its clock is an instruction.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from ipaddress import ip_address
from pathlib import Path

from benchmarks.datapath import plan
from benchmarks.datapath.frames import LENGTH, PORT, frames
from benchmarks.datapath.plan import MIX, NOTHING, OWNED, VIPS, Case, Cost
from benchmarks.datapath.site import REAL, Director, Void, director
from tests.harness import module
from vipctl import methods
from vipctl.linux import ipvs
from vipctl.services import batch
from vipctl.services.marks import MARK_VALUE
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.services.values import Forward

BATCH = 50  # packets between two looks at the clock: few, so that most see no timer interrupt
ROUNDS = 30
SETTLING = 60.0  # idle seconds cost nothing here; what goes on in the background ends in them
LOOP = 5_000


def main() -> int:
    """Measure; what is measured is in the record at once."""
    record, sender, names, sizes = sys.argv[1:]
    _check_clock()
    words = sizes.split(",")
    numbers = [int(word) for word in words if word != MIX]
    cases = plan.cases(names.split(","), numbers, mixed=MIX in words)
    with Path(record).open("a") as out:
        for case in cases:
            for cost in _measure(case, Path(sender)):
                out.write(json.dumps(asdict(cost) | {"net": cost.net}) + "\n")
                out.flush()
    return 0


def _check_clock() -> None:
    """Equal loops take equally long on a clock of instructions, but for interrupts."""

    def loop() -> int:
        before = time.perf_counter_ns()
        for _ in range(LOOP):
            pass
        return time.perf_counter_ns() - before

    least, *_, fifth = sorted(loop() for _ in range(20))[:5]
    if fifth - least > least / 10_000:
        raise Void(f"the clock does not count instructions: {least} and {fifth} ns")


def _measure(case: Case, sender: Path) -> list[Cost]:
    """Set a director up and measure other traffic, then that for VIPs."""
    with director() as site:
        started = time.process_time()
        _load(case, site)
        loaded = time.process_time() - started
        time.sleep(SETTLING)
        costs = [] if case.method == OWNED else [_other(case, site, sender)]
        costs += [] if case.method == NOTHING else [_accepted(case, site, sender)]
    said = "".join(f"; {cost.traffic} {cost.net:,.1f}" for cost in costs)
    print(f"{case}: loaded by {loaded:,.2f} G instructions{said}", flush=True)
    return costs


def _load(case: Case, site: Director) -> None:
    service = balanced(case)
    if case.method == OWNED:
        _own(case, site)
    else:
        with site.host:
            ipvs.add(ipvs.desired([service]), {})
    if case.method in plan.METHODS:
        _accept(case, site, service)


def balanced(case: Case) -> Service:
    """Both IP versions have a real server, so that nothing is refused for want of one."""
    reals = tuple(RealServer(ip_address(address)) for address in REAL.values())
    method = case.method if case.method in plan.METHODS else "fwmark"
    return Service("bench", MARK_VALUE, method, forward=Forward.DR, reals=reals)


def _accept(case: Case, site: Director, service: Service) -> None:
    if case.method == "shim" and not Path("/sys/module", module.NAME).exists():
        module.load()
    acceptance = plan.acceptance(case, service)
    wanted = batch.sized(batch.of_entries(plan.entries(case, service.fwmark)), acceptance.shapes)
    with site.host:
        methods.get(case.method).load(acceptance, wanted)


def _own(case: Case, site: Director) -> None:
    """Each VIP is an address of the tap, and an IPVS service of its own."""
    addresses = [str(_address(case.version, vip)) for vip in plan.vips(case)]
    site.own(addresses)
    real = _endpoint(REAL[case.version])
    services = [_endpoint(address) for address in addresses]
    site.restore_ipvs(f"-A -u {service} -s wlc" for service in services)
    site.restore_ipvs(f"-a -u {service} -r {real} -g -w 1" for service in services)


def _address(version: int, number: int) -> str:
    return str(ip_address(number.to_bytes(4 if version == 4 else 16, "big")))


def _endpoint(address: str) -> str:
    return f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}"


def _other(case: Case, site: Director, sender: Path) -> Cost:
    cost = _through(case, site, sender, "other", plan.others(case.version))
    if site.connections():
        raise Void(f"{case}: IPVS took packets that are for no VIP")
    return cost


def _accepted(case: Case, site: Director, sender: Path) -> Cost:
    cost = _through(case, site, sender, "VIPs", plan.vips(case))
    if site.connections() != VIPS:
        raise Void(f"{case}: IPVS has {site.connections()} connections, not {VIPS}")
    return cost


def _through(
    case: Case, site: Director, sender: Path, traffic: str, destinations: Sequence[int]
) -> Cost:
    """Send, and make sure that every packet left."""
    before = site.transmitted()
    gross, mean = send(site, sender, case.version, destinations)
    left, sent = site.transmitted() - before, VIPS * (ROUNDS + 1)
    if left != sent:
        raise Void(f"{case}: of {sent} packets {left} were transmitted ({traffic})")
    own = harness(case.version, sender)
    return Cost(case.method, case.version, case.size, traffic, gross, mean, own, case.lengths)


@cache
def harness(version: int, sender: Path) -> float:
    """Return the cost of frames that a tap refuses where it would hand them to the network."""
    with director(up=False) as site:
        time.sleep(SETTLING)
        return send(site, sender, version, plan.others(version))[0]


def send(
    site: Director, sender: Path, version: int, destinations: Sequence[int], source: bytes = b""
) -> tuple[float, float]:
    """Return instructions per packet: without and with timer interrupts."""
    numbers = (site.tap, LENGTH[version], VIPS, BATCH, ROUNDS)
    done = subprocess.run(
        [str(sender), *map(str, numbers)],
        input=frames(version, destinations, source),
        pass_fds=[site.tap],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise Void(f"sender: {done.stderr.decode()}")
    least, mean = map(float, done.stdout.split())
    return least / VIPS, mean / VIPS


if __name__ == "__main__":
    sys.exit(main())
