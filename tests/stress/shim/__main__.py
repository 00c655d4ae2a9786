"""A stress of the module, in a guest: everything that it can be asked for, at once, for minutes.

Rounds of two parts. In the first the director's VIPs change while a flow to those that stay loses
nothing; in the second the module is unloaded under traffic, loaded and filled again. All the time
clients ask and know what they must be told, the director's prefixes are read and compared, and
network namespaces come, are filled, get packets and go. In the end nothing of it may be left.
"""

import argparse
import os
import random
import sys
import time

from tests.harness import kernellog, module, slabs
from tests.harness.lab import Lab
from tests.stress.shim import memory
from tests.stress.shim.flood import flush_in_a_flood
from tests.stress.shim.reloads import Reloads
from tests.stress.shim.stage import stage
from tests.stress.shim.stress import Stress
from tests.stress.shim.tally import Tally
from tests.vm.test_zz_kernel_log import TROUBLE
from vipctl.linux import shim

DURATION = 300.0  # seconds


def stress(tally: Tally, seed: str, seconds: float) -> None:
    """Run, and see what is left of it."""
    empty = warm_up(tally)
    before, reloads = memory.used(), Reloads(tally)
    with stage() as net:
        Stress(net, reloads, tally, seed).run(seconds)
        settled(net, reloads, tally, empty)
    for words in memory.leaks(before):
        tally.complain(words)


def settled(net: Lab, reloads: Reloads, tally: Tally, empty: dict[str, int]) -> None:
    """Once all is flushed no node may be left, nor a cache when the module is gone."""
    with net.director:
        shim.flush()
    for words in memory.node_leaks(empty):
        tally.complain(words)
    reloads.unload()
    if slabs.exist(*slabs.NODES):
        tally.complain("a slab cache is still there")


def warm_up(tally: Tally) -> dict[str, int]:
    """What is set up once, and stays, is no leak; return the nodes of a module without prefixes."""
    with stage() as net, module.loaded():
        flush_in_a_flood(tally)
        with net.director:
            shim.flush()
            return memory.nodes()


def kernel_complaints() -> list[str]:
    """What the kernel has to say of it."""
    return [line for line in kernellog.lines() if TROUBLE.search(line)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.shim", description=__doc__)
    parser.add_argument("--seconds", type=float, default=DURATION)
    parser.add_argument("--seed", default=str(random.randrange(1 << 32)))
    return parser.parse_args()


def main() -> int:
    """Do it; return 1 if something was wrong."""
    options, tally, began = _options(), Tally(), time.monotonic()
    print(f"seed {options.seed}", flush=True)
    try:
        stress(tally, options.seed, options.seconds)
    except Exception as error:
        tally.complain(f"{type(error).__name__}: {error}")
    for line in kernel_complaints():
        tally.complain(line)
    verdict = f"{len(tally.complaints)} COMPLAINTS" if tally.complaints else "no complaint"
    seconds = time.monotonic() - began
    print(f"{os.uname().release}, {seconds:.0f} s, seed {options.seed}: {tally.line()}; {verdict}")
    return 1 if tally.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
