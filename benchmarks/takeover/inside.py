"""In the guest: both sites in turn lose the power of their master; a line of JSON for each time.

python -m benchmarks.takeover.inside RECORD ROUNDS
"""

import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from benchmarks.takeover.page import Cut
from tests.failover.pairs import KEEPALIVED, VIPCTL, Kind, Pair, pair
from tests.failover.site import site
from tests.harness.netns import execute


def main() -> int:
    """Measure; what is measured is in the record at once."""
    record, rounds = sys.argv[1:]
    execute(["modprobe", "--all", "ip_vs", "tun"])
    with ExitStack() as stack, Path(record).open("a") as out:
        pairs = {kind.name: _pair(stack, kind) for kind in (VIPCTL, KEEPALIVED)}
        for number in range(int(rounds)):
            for name, both in pairs.items():
                cut = _cut(name, both)
                print(number + 1, cut, flush=True)
                out.write(json.dumps(asdict(cut)) + "\n")
                out.flush()
    return 0


def _pair(stack: ExitStack, kind: Kind) -> Pair:
    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    return stack.enter_context(pair(kind, stack.enter_context(site(scratch))))


def _cut(name: str, both: Pair) -> Cut:
    lost, later = both.power_off(), both.power_on()
    seconds = [both.stream.seconds(numbers) for numbers in lost.values()]
    return Cut(name, seconds, sum(map(len, later.values())))


if __name__ == "__main__":
    sys.exit(main())
