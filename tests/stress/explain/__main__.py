"""Whether `explain` says what a client meets, in random situations.

In each there is a director of its own, with a service by a random method, and somebody breaks up
to three things of it at random: causes that the tests make, firewalls, real servers that die. A
client asks a VIP, or an address beside the VIPs, from eight addresses. `explain` must name no
cause if all of them get an answer, and one if not. With --probe, which every other one has where
there is IPVS, real servers may have ended, lost the VIPs, or answer by another way, too. `explain`
may say that it cannot tell what a chain of others drops: that is counted apart.

Where the kernel has no IPVS, proxies answer by tproxy; by other methods the first packets are
counted where IPVS would take them, and `explain` is believed up to there.
"""

import argparse
import random
import sys

from tests.harness import module
from tests.harness.cleanup import terminate_like_interrupt
from tests.harness.guest import has_ipvs
from tests.stress.explain.fuzz import DISAGREED, run, summary

SITUATIONS = 100


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.explain", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="the first")
    parser.add_argument("--situations", type=int, default=SITUATIONS, help="of seeds that follow")
    return parser.parse_args()


def main() -> int:
    """Do it; return 1 if there was a disagreement."""
    terminate_like_interrupt()
    options, ipvs = _options(), has_ipvs()
    if not ipvs:
        counts = run(options.seed, options.situations, ipvs=False)
    else:
        with module.loaded():
            counts = run(options.seed, options.situations, ipvs=True)
    print(summary(options.seed, options.situations, counts, ipvs=ipvs), flush=True)
    if counts[DISAGREED]:
        print("one of them again: make explain-fuzz FUZZ='--seed=SEED --situations=1'")
    return 1 if counts[DISAGREED] else 0


if __name__ == "__main__":
    sys.exit(main())
