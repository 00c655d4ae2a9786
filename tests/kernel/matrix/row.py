"""What one kernel came to: built, tested."""

import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.harness.archive import EVERY, KernelError
from tests.harness.guest import REPOSITORY, SHARED, boot
from tests.harness.kernels import headers_of
from tests.harness.module import DEBUG, HOME, SAID, complaints, prepared
from tests.harness.progress import Progress, log_of
from tests.harness.suite import REPORT, UNUSED, prefixed
from tests.kernel.matrix.candidates import Candidate

TESTS = (*sorted(Path("tests/vm").glob("test_shim*.py")), Path("tests/vm/test_zz_kernel_log.py"))
HOOKS = Path("tests/vm/test_shim_hooks.py")  # only where the kernel lists hooks
LISTS_HOOKS = "CONFIG_NETFILTER_NETLINK_HOOK="
TIME_LIMIT = 90 * 60.0
MEMORY = "1G"
COMPILER = re.compile(r'^CONFIG_CC_VERSION_TEXT=".*?(gcc).* ([\d.]+)"$', re.MULTILINE)
CHECKED = " CHECK "  # what make prints before a file that sparse looks at
NO_HEADERS = "Debian has its image still, but no headers: nothing can be built for it"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table. `tests` has (passed, others) by file."""

    release: str
    debian: str
    day: str
    compiler: str = ""
    sparse: bool = False  # whether it looked, too
    messages: int = 0
    problem: str = ""
    tests: dict[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "Row":
        """Return what was written as JSON."""
        tests = {name: (passed, others) for name, (passed, others) in found["tests"].items()}
        return cls(**{**found, "tests": tests})

    @property
    def passed(self) -> int:
        """Return how many tests passed."""
        return sum(passed for passed, _ in self.tests.values())

    @property
    def others(self) -> int:
        """Return how many did not."""
        return sum(others for _, others in self.tests.values())

    def is_built(self) -> bool:
        """Tell whether it was built in silence, or cannot be built at all."""
        return self.problem == NO_HEADERS or not (self.problem or self.messages)

    def is_good(self) -> bool:
        """Likewise, and all tests passed where there is a module."""
        tested = self.passed > 0 and not self.others
        return self.is_built() and (tested or self.problem == NO_HEADERS)


def built(candidate: Candidate) -> Row:
    """Build the module, and the one that tests itself."""
    row = Row(candidate.release, candidate.debian, time.strftime("%Y-%m-%d"))
    if not candidate.has_headers:
        return replace(row, problem=NO_HEADERS)
    try:
        prepared(candidate.release)
    except KernelError as error:
        return replace(row, problem=_first(str(error)))
    homes = (HOME / (candidate.release + variant) for variant in ("", DEBUG))
    said = "".join((home / SAID).read_text() for home in homes)
    found = replace(row, compiler=_compiler(candidate.release), messages=len(complaints(said)))
    return replace(found, sparse=CHECKED in said)


def _first(error: str) -> str:
    """Return the line of an error that says most."""
    lines = complaints(error) or error.splitlines()
    return f"it cannot be built: {lines[0].rpartition('/')[2]}"


def _compiler(release: str) -> str:
    """Return what the kernel was built with, which is in the root that the module is built in."""
    found = COMPILER.search(_config(release))
    return " ".join(found.groups()) if found else "?"


def _config(release: str) -> str:
    return (headers_of(release, EVERY) / ".config").read_text()


def tested(row: Row) -> Row:
    """Run the module's tests under the kernel, if there is a module."""
    if row.problem:
        return row
    try:
        return _tested(row)
    except KernelError as error:
        return replace(row, problem=f"no guest boots it: {str(error).splitlines()[0]}")


def _tested(row: Row) -> Row:
    system = prepared(row.release)
    argv = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *UNUSED]
    argv += [f"--junit-xml={SHARED / REPORT}", *_tests(row.release)]
    with log_of(REPOSITORY, row.release).open("w") as log:
        progress = Progress(prefixed(row.release), log)
        progress.emit("booting")
        with boot(system, argv, MEMORY) as guest:
            status = guest.explain(guest.follow(progress.line, TIME_LIMIT), progress.line)
            return counted(row, guest.shared / REPORT, status)


def _tests(release: str) -> list[str]:
    listed = LISTS_HOOKS in _config(release)
    return [str(path) for path in TESTS if listed or path != HOOKS]


def counted(row: Row, report: Path, status: int) -> Row:
    """Take what pytest has reported; a run that died has not."""
    if not report.exists():
        return replace(row, problem=f"its tests ended without a report (exit status {status})")
    passed, others = Counter[str](), Counter[str]()
    for name, good in _cases(report):
        (passed if good else others)[name] += 1
    tests = {name: (passed[name], others[name]) for name in sorted({*passed, *others})}
    problem = f"its tests ended with exit status {status}" if status and not others else ""
    return replace(row, tests=tests, problem=problem)


def _cases(report: Path) -> Iterator[tuple[str, bool]]:
    """Yield the file of each test, and whether it passed."""
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        others = {"failure", "error", "skipped"} & {found.tag for found in case}
        yield (case.get("classname") or "?").rpartition(".")[2], not others
