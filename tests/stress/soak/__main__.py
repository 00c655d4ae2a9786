"""A soak: minutes of random changes under traffic, everything compared with a model of its own.

In a client, a director and a flow of 2,000 datagrams a second: services of three methods are added
to, taken from, replaced, switched to other methods, repaired after others' flushes. Datagrams for
VIPs that stay must all come, with their service's mark; none for what is never a VIP may. After
each operation the edges of what it changed are probed; now and then all that vipctl says is
compared. In the end all is removed, and the kernel and this process have what they had before.
"""

import argparse
import os
import random
import sys

from tests.harness.cleanup import terminate_like_interrupt
from tests.stress.soak.run import run

DURATION = 600.0  # seconds


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=DURATION)
    parser.add_argument("--seed", default=os.environ.get("VIPCTL_SEED"))
    return parser.parse_args()


def main() -> int:
    """Do it; return 1 if something was wrong."""
    terminate_like_interrupt()
    options = _options()
    seed = options.seed or str(random.randrange(1 << 32))
    return 1 if run(seed, options.seconds, alone=True).complaints else 0


if __name__ == "__main__":
    sys.exit(main())
