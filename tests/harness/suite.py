"""Run every test: on this kernel, then under Debian's kernels in parallel; then sum up."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from xml.etree import ElementTree

from tests.conformance.results import differences
from tests.harness.cleanup import terminate_like_interrupt
from tests.harness.guest import REPOSITORY, SHARED, TIME_LIMIT, Emit, Guest, boot
from tests.harness.kernels import METAPACKAGES, Kernel, KernelError, kernel
from tests.harness.module import built

REPORT = "report.xml"
RECORD = "conformance.jsonl"
HERE = ("tests/unit", "tests/kernel", "tests/netns", "tests/conformance/test_page.py")
# make conformance measures every method under every kernel.
MEASURED = {"6.1": "shim,fwmark,fwmark-iptables", "6.12": "shim,fwmark,route,tproxy"}
# What tests vipctl rather than the kernel is run under one kernel only.
ELSEWHERE = {
    "6.1": ("changes", "drift", "foreign", "sysctls"),
    "6.12": ("apply", "drain", "ipvs_imports", "large", "persistence", "rollback"),
}
MEMORY = "1G"
UNUSED = ("-p", "no:hypothesispytest")  # to import it takes a guest a quarter of a minute
_PRINTING = Lock()


@dataclass(frozen=True, slots=True)
class Result:
    """What one kernel's run came to."""

    system: str
    seconds: float
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    problem: str = ""
    at_fault: tuple[str, ...] = ()  # names of tests

    def is_good(self) -> bool:
        """Tell whether tests ran, and all of them passed."""
        return self.passed > 0 and not (self.failed or self.skipped or self.problem)

    def __str__(self) -> str:
        counts = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        line = f"{self.system:5} {counts} in {self.seconds:.0f} s {self.problem}".rstrip()
        return "\n".join([line, *(f"      {name}" for name in self.at_fault)])


def read_report(system: str, report: Path, status: int, seconds: float) -> Result:
    """Make a result of pytest's report; a run without one, or without tests, is a problem."""
    if not report.exists():
        return Result(system, seconds, problem=f"NO REPORT (exit status {status})")
    suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    total, failures, errors, skipped = (
        int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")
    )
    passed = total - failures - errors - skipped
    problem = f"EXIT STATUS {status}" if status else ""
    at_fault = tuple(_not_passed(suite))
    return Result(system, seconds, passed, failures + errors, skipped, problem, at_fault)


def _not_passed(suite: ElementTree.Element) -> Iterator[str]:
    """Name and first line of what is to be said of each."""
    for case in suite.iter("testcase"):
        for found in case:
            if found.tag in ("failure", "error", "skipped"):
                said = (found.get("message") or "").partition("\n")[0]
                yield f"{found.tag}: {case.get('classname')}::{case.get('name')}: {said}"


def _pytest(paths: Sequence[str], report: Path, *more: str) -> list[str]:
    options = ["-v", "-p", "no:cacheprovider", f"--junit-xml={report}", *more]
    return [sys.executable, "-m", "pytest", *options, *paths]


def prefixed(system: str) -> Emit:
    """Return what prints lines with a name before them, one at a time."""

    def emit(line: str) -> None:
        with _PRINTING:
            print(f"{system:>5} | {line.rstrip()}", flush=True)

    return emit


def run_here(paths: Sequence[str]) -> Result:
    """Run tests on this machine's kernel."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vipctl-suite-") as scratch:
        report = Path(scratch) / REPORT
        status = _stream(_pytest(paths, report, "--numprocesses=auto"), prefixed("host"))
        return read_report("host", report, status, time.monotonic() - started)


def _stream(argv: list[str], emit: Emit) -> int:
    """Run with a session of its own: Ctrl-C reaches it once, from here, and is waited for."""
    process = subprocess.Popen(
        argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        for line in process.stdout or ():
            emit(line)
        return process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def run_guests(systems: Mapping[str, Kernel], paths: Sequence[str]) -> list[Result]:
    """Run tests under each kernel, all guests at the same time."""
    argv = _pytest(paths, SHARED / REPORT, *UNUSED, f"--record={SHARED / RECORD}")
    with ThreadPoolExecutor() as pool, ExitStack() as guests:
        booted = {
            name: guests.enter_context(boot(system, [*argv, *_choice(name)], MEMORY))
            for name, system in systems.items()
        }
        return list(pool.map(_watch, booted.keys(), booted.values()))


def _choice(system: str) -> list[str]:
    ignored = [f"--ignore=tests/vm/test_{name}.py" for name in ELSEWHERE[system]]
    return [f"--methods={MEASURED[system]}", *ignored]


def _watch(system: str, guest: Guest) -> Result:
    started = time.monotonic()
    emit = prefixed(system)
    emit("booting")
    status = guest.explain(guest.follow(emit, TIME_LIMIT), emit)
    result = read_report(system, guest.shared / REPORT, status, time.monotonic() - started)
    return _compared(result, differences(system, guest.shared / RECORD), emit)


def _compared(result: Result, lines: list[str], emit: Emit) -> Result:
    """Add what the conformance suite has found otherwise than docs/methods.json says."""
    for line in lines:
        emit(line)
    found = f"{len(lines)} CELLS DIFFER FROM docs/methods.json (make conformance writes it)"
    return replace(result, problem=f"{result.problem} {found}".strip()) if lines else result


def summarise(results: Sequence[Result]) -> int:
    """Print the summary; return 0 if everything passed."""
    print("\n" + "\n".join(str(result) for result in results))
    passed, failed, skipped = (
        sum(getattr(result, count) for result in results)
        for count in ("passed", "failed", "skipped")
    )
    good = all(result.is_good() for result in results)
    print("everything passed" if good else "NOT everything passed")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 0 if good else 1


def main() -> int:
    """Run everything."""
    terminate_like_interrupt()
    try:
        systems = {series: kernel(series) for series in METAPACKAGES}
        for series in systems:
            built(series)
        here = run_here(HERE)
        there = ["tests/conformance/test_conformance.py", "tests/vm"]
        return summarise([here, *run_guests(systems, there)])
    except KernelError as error:
        print(f"suite: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
