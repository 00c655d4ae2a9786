"""A soak of `vipctl watch`: minutes of failures, drift and changes, compared with a model.

Real servers die, hang and come back, as processes; others delete what vipctl has in the kernel;
commands change services; the daemon is killed, ended and started; some of it at the same time.
After each step the stored state is as a model has it, and soon so are the kernel, what health
checks say, and what each address gets. While nothing is deleted, no datagram for a VIP is lost.
"""

import argparse
import os
import random
import sys

from tests.harness.cleanup import terminate_like_interrupt
from tests.stress.tended.soak import run

DURATION = 600.0  # seconds


def main() -> int:
    """Do it; return 1 if something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.tended", description=__doc__)
    parser.add_argument("--seconds", type=float, default=DURATION)
    parser.add_argument("--seed", default=os.environ.get("VIPCTL_SEED"))
    options = parser.parse_args()
    terminate_like_interrupt()
    return 1 if run(options.seed or str(random.randrange(1 << 32)), options.seconds) else 0


if __name__ == "__main__":
    sys.exit(main())
