"""What this process and the kernel have taken, always at the same state: all VIPs removed.

The process may grow by what its allocators and caches keep of the largest command; what every
command loses grows without end, and shows within minutes. Its free memory is given back before it
is read. The kernel's counts are of the whole machine, with what others do at the time, and some of
what is freed goes in the background: of several readings, before warming up too, the lowest counts.
The limits are those of the module's stress. A prefix takes 50 to 250 bytes, and a soak adds and
removes hundreds of thousands.
"""

import ctypes
import gc
import time
from dataclasses import dataclass, replace
from pathlib import Path

from tests.stress.shim import memory as kernel

GROWTH = 0.10  # of the process, and beside it
SLACK = 8 << 10  # KiB
ANY = 1 << 30
READINGS, PAUSE = 10, 0.3  # of the kernel; seconds


@dataclass(frozen=True)
class Used:
    """KiB at one moment."""

    process: int
    kernel: dict[str, int]

    @classmethod
    def now(cls) -> "Used":
        """Read it."""
        return cls(resident(), _lowest())

    def least(self, before: "Used") -> "Used":
        """Return it with what the kernel had at another time, where that was less."""
        return replace(self, kernel=_lower(before.kernel, self.kernel))

    def grown(self, later: "Used") -> list[str]:
        """Return what to complain of the process."""
        most = self.process * (1 + GROWTH) + SLACK
        if later.process <= most:
            return []
        return [f"the process has {later.process} KiB, {self.process} after warming up"]

    def leaked(self) -> list[str]:
        """Return what to complain of the kernel, now that all is as it was; others' hosts aside."""
        return kernel.leaks({**self.kernel, kernel.NETS: ANY})

    def line(self, later: "Used") -> str:
        """Say it for people."""
        pairs = [("process", self.process, later.process)]
        pairs += [(kind, self.kernel[kind], later.kernel[kind]) for kind in kernel.KINDS]
        return "; ".join(f"{what} {then:,} → {now:,} KiB" for what, then, now in pairs)


def resident() -> int:
    """Return the KiB of this process, what is free given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if "VmRSS" in line))


def _lowest() -> dict[str, int]:
    least = kernel.used()
    for _ in range(READINGS):
        time.sleep(PAUSE)
        least = _lower(least, kernel.used())
    return least


def _lower(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
    return {kind: min(number, right[kind]) for kind, number in left.items()}
