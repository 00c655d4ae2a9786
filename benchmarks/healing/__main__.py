"""`python -m benchmarks.healing`: somebody's damage, and the time until it is undone.

A director has some prefixes, and a `vipctl watch` of its own for every few trials, as it would not
fight for longer. Of each damage the median and the worst time are printed, from before the command
that does it to the line in which the daemon says that it put things back. The last row is what
`vipctl restore` takes for all prefixes, without a daemon: most of it is the kernel's. In a guest
(`make bench-healing KERNEL=6.12`) there is IPVS, and `ipvsadm --clear` is one damage more, of which
the kernel tells nobody; the guest is emulated, and ten to twenty times as slow. With `--daemons`
firewalld and NetworkManager do the damage, and the time is that for which routes were gone.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tabulate import tabulate

from benchmarks.healing import others
from tests.harness.command import Vipctl
from tests.harness.netns import Namespace
from tests.netns.test_watch import Daemon, watching
from vipctl.watch.patience import LIMIT

FLUSH = ["nft", "flush", "ruleset"]
DAMAGES = {
    "nft flush ruleset": FLUSH,
    "ip rule flush": ["sh", "-c", "ip rule flush; ip rule add lookup main pref 32766"],
    "ip route flush table 30320": ["ip", "route", "flush", "table", "30320"],
}
CLEAR = {"ipvsadm --clear": ["ipvsadm", "--clear"]}
LOAD = "(vipctl restore after a flush)"
SAID = "put back"
LIMIT_OF_ONE = 300.0  # seconds
HAS_IPVS = Path("/proc/net/ip_vs").exists()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.healing")
    parser.add_argument("--trials", type=int, default=50, metavar="N", help="of each damage")
    parser.add_argument("--prefixes", type=int, default=100, metavar="N")
    parser.add_argument("--daemons", action="store_true", help="firewalld and NetworkManager")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        vipctl = _director(Path(directory), options.prefixes)
        log = Path(directory, "log")
        if options.daemons:
            return _say(options, list(others.rows(vipctl, log, options.trials)))
        rows = []
        for name, argv in (DAMAGES | (CLEAR if HAS_IPVS else {})).items():
            found = list(_trials(vipctl, log, argv, options.trials))
            rows.append(_row(name, found))
        rows.append(_row(LOAD, [_loaded(vipctl) for _ in range(min(options.trials, LIMIT))]))
    return _say(options, rows)


def _say(options: argparse.Namespace, rows: list[others.Row]) -> int:
    print(f"{options.prefixes:,} prefixes, {options.trials} trials of each damage")
    print(tabulate(rows, ["damage", "median ms", "worst ms"], floatfmt=".0f"))
    return 0


def _row(name: str, found: list[float]) -> others.Row:
    row = name, statistics.median(found) * 1e3, max(found) * 1e3
    print(f"{name}: {len(found)} times", flush=True)
    return row


def _director(directory: Path, prefixes: int) -> Vipctl:
    vipctl = Vipctl(Namespace.create("director"), directory / "state")
    file = directory / "ranges"
    file.write_text(
        "".join(f"10.{n >> 15}.{n >> 7 & 255}.{2 * n & 255}\n" for n in range(prefixes))
    )
    balanced = ["--service=web", "--real=192.0.2.1", "--set-sysctls"]
    vipctl("add-range", f"@{file}", *(balanced if HAS_IPVS else ["--fwmark=17"]))
    return vipctl


def _trials(vipctl: Vipctl, log: Path, argv: list[str], number: int) -> Iterator[float]:
    left = number
    while left > 0:
        with watching(vipctl, log, limit=LIMIT_OF_ONE) as daemon:
            for _ in range(min(left, LIMIT - 1)):
                yield _undone(vipctl.host, daemon, argv)
                left -= 1


def _undone(host: Namespace, daemon: Daemon, argv: list[str]) -> float:
    before = len(daemon.said())
    started = time.monotonic()
    host.run(argv)
    while not any(SAID in line for line in daemon.said()[before:]):
        if time.monotonic() - started > LIMIT_OF_ONE:
            raise TimeoutError(f"{' '.join(argv)}: not undone: {daemon.said()}")
        time.sleep(0.001)
    took = time.monotonic() - started
    time.sleep(0.5)  # what follows of it is over
    return took


def _loaded(vipctl: Vipctl) -> float:
    vipctl.host.run(FLUSH)
    started = time.monotonic()
    assert vipctl("restore")["restored"] is True
    return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
