"""In the guest: each checker in turn, with real IPVS; a line of JSON each.

    python -m benchmarks.checks.inside RECORD NAMES NUMBER SECONDS

One host has the addresses of all real servers, and one socket answers for them. The guest counts
instructions in place of time: a nanosecond of its clock is an instruction, so that a slow machine
changes nothing.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from benchmarks.checks import checkers
from benchmarks.checks.checkers import EVERY, PORT, Checker
from benchmarks.checks.page import Cost
from tests.harness import cgroups
from tests.harness.netns import Namespace, execute
from tests.harness.waiting import wait_until

FARM, FIRST = "10.1.0.0/22", ip_address("10.1.0.1")
SETTLING = 5 * EVERY  # seconds
BROKEN = 20  # real servers at once
PATIENCE = 600.0  # seconds of the guest
POLL = 0.05
WALL = "table ip wall {{ chain input {{ type filter hook input priority 0; {rule}; }}; }}"
RULE = "ip daddr {{ {broken} }} tcp dport {port} {verdict}"
FAULTS = {"refuse": "reject with tcp reset", "are silent": "drop"}


def main() -> int:
    """Measure; what is measured is in the record at once."""
    record, names, number, seconds = sys.argv[1:]
    execute(["modprobe", "--all", "ip_vs", "ip_vs_rr"])
    reals = [str(FIRST + n) for n in range(int(number))]
    with Path(record).open("a") as out:
        for name in names.split(","):
            cost = _measured(name, reals, float(seconds))
            print(cost, flush=True)
            out.write(json.dumps(asdict(cost)) + "\n")
            out.flush()
    return 0


def _measured(name: str, reals: Sequence[str], seconds: float) -> Cost:
    with tempfile.TemporaryDirectory() as directory, _site() as (director, farm):
        checker = checkers.ALL[name](Path(directory), reals)
        with cgroups.group() as group, _running(checker, director, group, Path(directory)):
            wait_until(partial(_has, director, dict.fromkeys(reals, 1)), "all pass", PATIENCE)
            time.sleep(SETTLING)
            asked, used, begun = _asked(farm), cgroups.used(group), time.monotonic()
            time.sleep(seconds)
            used, took = cgroups.used(group) - used, time.monotonic() - begun
            asked = _asked(farm) - asked
            memory = _memory(group)
            found = {
                fault: _found(director, farm, reals, verdict) for fault, verdict in FAULTS.items()
            }
    return Cost(checker.name, len(reals), asked / took, used / took, memory, found)


@contextmanager
def _site() -> Iterator[tuple[Namespace, Namespace]]:
    director, farm = Namespace.create("director"), Namespace.create("farm")
    try:
        director.ip(
            f"link add eth0 type veth peer name eth0 netns {farm.name}",
            "link set eth0 up",
            "addr add 10.0.0.1/24 dev eth0",
        )
        farm.ip(
            "link set eth0 up", "addr add 10.0.0.2/24 dev eth0", f"route add local {FARM} dev lo"
        )
        director.ip(f"route add {FARM} via 10.0.0.2")
        director.sysctl("net.ipv4.ip_forward", 1)
        with farm, socket.create_server(("0.0.0.0", PORT), backlog=4096) as listener:
            threading.Thread(target=_accept, args=(listener,), daemon=True).start()
            yield director, farm
    finally:
        director.close()
        farm.close()


def _accept(listener: socket.socket) -> None:
    try:
        while True:
            listener.accept()[0].close()
    except OSError:
        return


@contextmanager
def _running(checker: Checker, director: Namespace, group: Path, directory: Path) -> Iterator[None]:
    for argv in checker.before:
        director.run(list(argv), timeout=PATIENCE)
    entered = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
    argv = ["ip", "netns", "exec", director.name, *entered, *checker.argv]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
    try:
        yield
    except TimeoutError:
        print((directory / "log").read_text()[-3000:], flush=True)
        raise
    finally:
        for pid in cgroups.members(group):
            os.kill(pid, signal.SIGKILL)
        process.wait()
        wait_until(lambda: not cgroups.members(group), "all have ended", PATIENCE)


def _weights(director: Namespace) -> dict[str, int]:
    """Of real servers in IPVS, by address."""
    rows = (line.split() for line in director.proc_net("ip_vs").splitlines() if "->" in line)
    return {_address(row[1]): int(row[3]) for row in rows if row[1] != "RemoteAddress:Port"}


def _address(endpoint: str) -> str:
    return str(ip_address(int(endpoint.partition(":")[0], 16)))


def _has(director: Namespace, wanted: dict[str, int]) -> bool:
    time.sleep(POLL)
    return _weights(director) == wanted


def _asked(farm: Namespace) -> int:
    """How many connections were accepted."""
    names, values = (
        line.split() for line in farm.proc_net("snmp").splitlines() if line.startswith("Tcp:")
    )
    return int(values[names.index("PassiveOpens")])


def _memory(group: Path) -> float:
    """MB of all processes, what they share counted once."""
    files = (Path(f"/proc/{pid}/smaps_rollup") for pid in cgroups.members(group))
    lines = (line.split() for file in files for line in file.read_text().splitlines())
    return sum(int(words[1]) for words in lines if words[0] == "Pss:") / 1024


def _found(director: Namespace, farm: Namespace, reals: Sequence[str], verdict: str) -> list[float]:
    """Seconds until each of some that break at once gets nobody; then all work again."""
    broken = set(reals[:: len(reals) // BROKEN])
    rule = RULE.format(broken=", ".join(sorted(broken)), port=PORT, verdict=verdict)
    begun, found = time.monotonic(), dict[str, float]()
    farm.run(["nft", WALL.format(rule=rule)])

    def all_found() -> bool:
        time.sleep(POLL)
        now, weights = time.monotonic(), _weights(director)
        for real in broken - found.keys():
            if not weights.get(real):
                found[real] = now - begun
        return found.keys() == broken

    wait_until(all_found, "they are found", PATIENCE)
    farm.run(["nft", "delete table ip wall"])
    wait_until(partial(_has, director, dict.fromkeys(reals, 1)), "they are back", PATIENCE)
    return sorted(found.values())


if __name__ == "__main__":
    sys.exit(main())
