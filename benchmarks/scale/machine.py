"""What the figures depend on: processor, memory, kernel, programs."""

import os
import platform
import re
from pathlib import Path

from tests.harness.netns import execute

PROGRAMS = {"nft": ["nft", "--version"], "ipset": ["ipset", "--version"], "ip": ["ip", "-V"]}


def described() -> dict[str, str]:
    """Return it as words."""
    total = int(_first(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text()))
    model = _first(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return {
        "Linux": platform.release(),
        "processor": f"{os.cpu_count()} × {model}",
        "memory": f"{total / (1 << 20):.0f} GiB",
        "Python": platform.python_version(),
        **{name: _version(argv) for name, argv in PROGRAMS.items()},
    }


def _version(argv: list[str]) -> str:
    return _first(r"v?(\d+(?:\.\d+)+)", execute(argv).stdout)


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1].strip() if found else "unknown"
