"""In the guest: acceptance and balancing by vipctl, ipvsadm and keepalived; a line of JSON each.

python -m benchmarks.scale.inside RECORD
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks.raw import route
from benchmarks.scale.plan import vips
from benchmarks.scale.record import Served
from benchmarks.scale.site import Site, site
from benchmarks.scale.ways import vipctl, write
from tests.harness.netns import execute
from tests.harness.waiting import wait_until

METHODS = ("fwmark", "route")
REAL = "10.0.0.2"
SIZES = (1_000, 10_000)
KEEPALIVED = 1_000
PATIENCE = 300.0  # seconds
CONFIGURATION = """global_defs {{
    vrrp_garp_master_repeat 1
}}
vrrp_instance bench {{
    state MASTER
    interface eth0
    virtual_router_id 51
    priority 255
    advert_int 1
    virtual_ipaddress {{
        {first}
    }}
    virtual_ipaddress_excluded {{
{others}
    }}
}}
"""


def main() -> int:
    """Measure; what is measured is in the record at once."""
    execute(["modprobe", "ip_vs"])
    with Path(sys.argv[1]).open("a") as out:
        for served in _all():
            print(served, flush=True)
            out.write(json.dumps(asdict(served)) + "\n")
            out.flush()
    return 0


def _all() -> Iterator[Served]:
    _warm()
    for size in SIZES:
        for method in METHODS:
            yield _measured(method, size, partial(_vipctl, method))
        yield _measured("ipvsadm, a service per VIP (accepts nothing)", size, _ipvsadm)
        if size <= KEEPALIVED:
            yield _measured("keepalived, `virtual_ipaddress_excluded`", size, _keepalived)


def _warm() -> None:
    """Have programs and their libraries read from the host's disk."""
    with site() as built:
        _vipctl("fwmark", built, vips(4, 10))
        _ipvsadm(built, vips(4, 10))
        execute(["keepalived", "--version"])


def _measured(
    name: str, size: int, way: Callable[[Site, list[str]], tuple[float, float]]
) -> Served:
    with site() as built:
        return Served(name, size, *way(built, vips(4, size)))


def _vipctl(method: str, built: Site, addresses: list[str]) -> tuple[float, float]:
    """Accept and balance: one service, its VIPs, a real server."""
    listed = "@" + write(built, "vips", addresses)
    options = ("--service", "bench", "--method", method, "--real", REAL)
    load = built.timed(vipctl(built, "add-range", listed, *options), PATIENCE)
    built.check(addresses[:5], [])
    remove = built.timed(vipctl(built, "remove-range", listed), PATIENCE)
    return load.wall, remove.wall


def _ipvsadm(built: Site, addresses: list[str]) -> tuple[float, float]:
    """Balance only: two lines of `ipvsadm --restore` for each VIP."""
    lines = [line for a in addresses for line in (f"-A -u {a}:80", f"-a -u {a}:80 -r {REAL} -m")]
    restore = ["sh", "-c", f"ipvsadm --restore < {write(built, 'services', lines)}"]
    load = built.timed(restore, PATIENCE)
    return load.wall, built.timed(["ipvsadm", "--clear"], PATIENCE).wall


def _keepalived(built: Site, addresses: list[str]) -> tuple[float, float]:
    """Accept only: every VIP an address of the director's."""
    first, *others = addresses
    indented = "\n".join(f"        {address}" for address in others)
    path = write(built, "keepalived.conf", [CONFIGURATION.format(first=first, others=indented)])
    before, began = _owned(built), time.monotonic()
    with _daemon(built, path) as process:
        _wait(built, lambda count: count >= before + len(addresses))
        load = time.monotonic() - began
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _wait(built, lambda count: count <= before)
        return load, time.monotonic() - began


@contextmanager
def _daemon(built: Site, path: str) -> Iterator["subprocess.Popen[str]"]:
    """Run keepalived, its VRRP part only, on the director."""
    pids = [f"--{name}={built.scratch / name}" for name in ("pid", "vrrp_pid")]
    argv = ["keepalived", "--dont-fork", "--vrrp", f"--use-file={path}", *pids]
    printed = (built.scratch / "keepalived").open("w")
    with built.host, printed:
        process = subprocess.Popen(
            argv, stdout=printed, stderr=printed, text=True, start_new_session=True
        )
    try:
        yield process
        process.wait(PATIENCE)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(built: Site, holds: Callable[[int], bool]) -> None:
    wait_until(lambda: holds(_owned(built)), "keepalived has done it", PATIENCE)


def _owned(built: Site) -> int:
    """Return how many routes the director has: each address is a local one."""
    with built.host:
        return route.count(4)


if __name__ == "__main__":
    sys.exit(main())
