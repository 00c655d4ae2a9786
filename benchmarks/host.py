"""What benchmarks share on the host: guests that count instructions, and what they record."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tests.harness.archive import KernelError
from tests.harness.cleanup import terminate_like_interrupt
from tests.harness.guest import REPOSITORY, SHARED, boot
from tests.harness.kernels import METAPACKAGES, kernel
from tests.harness.suite import prefixed

HOME = REPOSITORY / "build" / "bench"
RECORD = SHARED / "record.jsonl"  # in the guest: lines of JSON
KERNEL = "6.12"
COUNTING = "-icount shift=0,sleep=off"  # an instruction is a nanosecond of the guest's clock
MEMORY = "6G"
TIME_LIMIT = 4 * 3600.0

Line = dict[str, Any]


def measure(
    series: str, module: str, *words: str, machine: str = COUNTING
) -> tuple[int, list[Line]]:
    """Run a module of this package in a guest; return its exit status and what it recorded."""
    argv = [sys.executable, "-m", module, str(RECORD), *words]
    emit = prefixed(series)
    emit("booting")
    with boot(kernel(series), argv, MEMORY, machine) as guest:
        status = guest.explain(guest.follow(emit, TIME_LIMIT), emit)
        record = guest.shared / RECORD.name
        lines = record.read_text().splitlines() if record.exists() else []
    return status, [json.loads(line) for line in lines]


def keep(name: str, series: str, **found: object) -> None:
    """Write what was found under a kernel to build/bench."""
    HOME.mkdir(parents=True, exist_ok=True)
    about = {"kernel": kernel(series).release, **found}
    (HOME / f"{name}.json").write_text(json.dumps(about, indent=1))


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """Return what parses the options of all benchmarks."""
    options = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    options.add_argument("--kernel", default=KERNEL, choices=METAPACKAGES)
    return options


def main(run: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Run a benchmark; without a traceback where a kernel is missing or somebody interrupts."""
    terminate_like_interrupt()
    try:
        return run(options)
    except KernelError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def chosen(text: str) -> Sequence[str]:
    """Return the words of a list that commas separate."""
    return [word for word in text.split(",") if word]
