"""Run every test: on this kernel, then under Debian's kernels in parallel; then sum up.

With --sample it is a part of them: enough to show that a machine has what all of them need.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from xml.etree import ElementTree

from tabulate import tabulate

from tests.conformance.results import differences
from tests.harness.archive import KernelError
from tests.harness.cleanup import terminate_like_interrupt
from tests.harness.guest import REPOSITORY, SHARED, TIME_LIMIT, Emit, Guest, boot
from tests.harness.kernels import METAPACKAGES, kernel
from tests.harness.module import built
from tests.harness.progress import LOGS, Progress, log_of

REPORT = "report.xml"
RECORD = "conformance.jsonl"
CONFORMANCE = "tests/conformance/test_conformance.py"
# make conformance measures every method under every kernel.
MEASURED = {"6.1": "shim,fwmark-iptables,tproxy", "6.12": "fwmark,route"}
# What tests vipctl rather than the kernel is run under one kernel only.
ELSEWHERE = {
    "6.1": [
        "agents", "alive", "arrival", "changes", "checks_by_vip", "demo", "drift", "explain_probe",
        "firewall", "foreign", "ftp", "health", "import", "isolation", "one_packet", "own_real",
        "relay", "role", "shim_faults", "shim_hooks", "sync", "sysctls", "thresholds", "tunnels",
    ],
    "6.12": [
        "apply", "cost", "dead_server", "director", "drain", "edits", "guard", "ipvs_imports",
        "large", "live_ports", "maintenance", "mixed_forwarding", "nginx", "one_line", "order",
        "persistence", "port_ranges", "ports", "rollback", "source_nat", "synproxy",
    ],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tests: paths for this kernel, and for each guest's."""

    here: tuple[str, ...]
    there: tuple[str, ...]
    systems: tuple[str, ...]
    minutes: int  # on two processors
    choice: tuple[str, ...] = ()  # further options for guests
    ipv4: tuple[str, ...] = ()  # for a guest that has no IPv6


ALL = Selection(
    ("tests/unit", "tests/kernel", "tests/netns", "tests/conformance/test_page.py"),
    (CONFORMANCE, "tests/vm"),
    tuple(METAPACKAGES),
    40,
    ipv4=("tests/ipv4",),
)
WITHOUT_IPV6 = "6.12"  # booted once more
SAMPLED = (
    "acceptance",
    "iptables",
    "missing",
    "nginx",
    "probing_datagrams",
    "systemd_unit",
    "tproxy",
)
SAMPLE = Selection(
    (
        "tests/unit",
        "tests/kernel/test_build.py",
        *(f"tests/netns/test_{name}.py" for name in SAMPLED),
    ),
    (CONFORMANCE, *(f"tests/vm/test_{name}.py" for name in ["guest", "forwarding", "one_line"])),
    ("6.1",),
    8,
    ("--cells=other-port",),
)
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

    def row(self) -> tuple[str, int, int, int, str, str]:
        """Return what the table says of it."""
        minutes = f"{self.seconds / 60:.1f}"
        return self.system, self.passed, self.failed, self.skipped, minutes, self.problem


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
    options = ["-v", "-p", "no:cacheprovider", "--durations=40", f"--junit-xml={report}", *more]
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
    with _following("host") as progress, tempfile.TemporaryDirectory(prefix="vipctl-") as scratch:
        report = Path(scratch) / REPORT
        status = _stream(_pytest(paths, report, f"--numprocesses={workers()}"), progress.line)
        return read_report("host", report, status, time.monotonic() - started)


def workers() -> int:
    """One more than there are processors: a third of the time these tests wait."""
    return len(os.sched_getaffinity(0)) + 1


@contextmanager
def _following(system: str) -> Iterator[Progress]:
    with log_of(REPOSITORY, system).open("w") as log:
        yield Progress(prefixed(system), log)


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


def run_guests(selection: Selection) -> list[Result]:
    """Run tests under each kernel, all guests at the same time."""
    argv = _pytest(selection.there, SHARED / REPORT, *UNUSED, f"--record={SHARED / RECORD}")
    argv += selection.choice
    with ThreadPoolExecutor() as pool, ExitStack() as guests:
        booted = {
            name: guests.enter_context(boot(kernel(name), [*argv, *_choice(name)], MEMORY))
            for name in selection.systems
        }
        if selection.ipv4:
            alone = replace(kernel(WITHOUT_IPV6), options="ipv6.disable=1")
            words = _pytest(selection.ipv4, SHARED / REPORT, *UNUSED)
            booted["ipv4"] = guests.enter_context(boot(alone, words, MEMORY))
        return list(pool.map(_watch, booted.keys(), booted.values()))


def _choice(system: str) -> list[str]:
    ignored = [f"--ignore=tests/vm/test_{name}.py" for name in ELSEWHERE[system]]
    return [f"--methods={MEASURED[system]}", *ignored]


def _watch(system: str, guest: Guest) -> Result:
    started = time.monotonic()
    with _following(system) as progress:
        progress.emit("booting")
        status = guest.explain(guest.follow(progress.line, TIME_LIMIT), progress.line)
        result = read_report(system, guest.shared / REPORT, status, time.monotonic() - started)
        record = guest.shared / RECORD
        lines = differences(system, record) if record.exists() else []
        return _compared(result, lines, progress.emit)


def _compared(result: Result, lines: list[str], emit: Emit) -> Result:
    """Add what the conformance suite has found otherwise than docs/methods.json says."""
    for line in lines:
        emit(line)
    found = f"{len(lines)} CELLS DIFFER FROM docs/methods.json (make conformance writes it)"
    return replace(result, problem=f"{result.problem} {found}".strip()) if lines else result


def summarise(results: Sequence[Result]) -> int:
    """Print what did not pass, a table, and one line; return 0 if everything passed."""
    print()
    for result in results:
        for name in result.at_fault:
            print(f"{result.system:>5} | {name}")
    headers = ("kernel", "passed", "failed", "skipped", "minutes", "")
    print(tabulate([result.row() for result in results], headers, disable_numparse=True))
    passed, failed, skipped = (
        sum(getattr(result, count) for result in results)
        for count in ("passed", "failed", "skipped")
    )
    good = all(result.is_good() for result in results)
    if not good:
        print(f"NOT everything passed: see {LOGS}/*.log")
    print(f"tests: {passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 0 if good else 1


def announce(selection: Selection) -> None:
    """Say what will be done, and how long it takes."""
    processors = len(os.sched_getaffinity(0))
    minutes = selection.minutes if processors > 1 else 2 * selection.minutes
    print(f"tests on this kernel ({os.uname().release}): {' '.join(selection.here)}")
    print(
        f"in a guest each of Debian's {' and '.join(selection.systems)}, with real IPVS: ", end=""
    )
    print(" ".join(selection.there))
    print(f"about {minutes} minutes on {processors} processors; every line is in {LOGS}/*.log")
    print(flush=True)


def _run(selection: Selection) -> int:
    announce(selection)
    for series in selection.systems:
        built(series)
    here = run_here(selection.here)
    return summarise([here, *run_guests(selection)])


def main() -> int:
    """Run everything, or the sample."""
    terminate_like_interrupt()
    parser = argparse.ArgumentParser(prog="python -m tests.harness.suite", description=__doc__)
    parser.add_argument("--sample", action="store_true", help="a part of the tests")
    try:
        return _run(SAMPLE if parser.parse_args().sample else ALL)
    except KernelError as error:
        print(f"suite: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("suite: interrupted; what was downloaded and built is kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
