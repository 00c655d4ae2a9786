"""Writes docs/kernels.md of docs/kernels.json."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from tests.harness.guest import REPOSITORY
from tests.kernel.matrix.row import Row

COMMITTED = REPOSITORY / "docs" / "kernels.json"
PAGE = COMMITTED.with_suffix(".md")
HEAD = """# The module on Debian's kernels

`make kernels` looks which kernels Debian's archive has, builds the module for the newest of each
series, boots them, runs the module's tests there, and writes this page. It is compiled with `W=1`
by the compiler that its kernel was built with, and read by sparse, which Debian's headers do not
allow since 7.2. That is done in minimal roots, and nothing is installed. What differs between
kernels is in [`kernel/compat.h`](../kernel/compat.h) alone. Debian's 6.1 does not list hooks, so
there is nothing to ask there by `test_shim_hooks`.

"""


def read() -> list[Row]:
    """Return the rows of the last time."""
    if not COMMITTED.exists():
        return []
    return [Row.from_json(found) for found in json.loads(COMMITTED.read_text())]


def publish(rows: Iterable[Row]) -> None:
    """Write both."""
    found = list(rows)
    COMMITTED.write_text(json.dumps([asdict(row) for row in found], indent=1) + "\n")
    PAGE.write_text(text(found))


def text(rows: Sequence[Row]) -> str:
    """Return the page."""
    built = [row for row in rows if row.tests]
    files = sorted({name for row in built for name in row.tests})
    lines = _table(("kernel", "release of Debian", "compiler", "module", "tests", "day"))
    lines += [_line(cells(row)) for row in rows]
    if built:
        lines += ["", "Tests that passed, and those that did not, by file:", ""]
        lines += _table(("", *(row.release.removesuffix("-amd64") for row in built)))
    lines += [_line((f"`{name}`", *(_score(row, name) for row in built))) for name in files]
    return HEAD + "\n".join(lines) + "\n"


def cells(row: Row) -> tuple[str, ...]:
    """Return what a row says of a kernel."""
    by = "compiler and sparse" if row.sparse else "compiler"
    module = row.problem or f"builds; {_count(row.messages, 'message')} of {by}"
    tests = f"{row.passed} passed, {row.others} failed" if row.tests else "not run"
    tests = "" if row.problem and not row.tests else tests
    return row.release, row.debian, row.compiler, module, tests, row.day


def _score(row: Row, name: str) -> str:
    if name not in row.tests:
        return "–"
    passed, others = row.tests[name]
    return f"{passed}, **{others} failed**" if others else str(passed)


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _table(heads: Sequence[str]) -> list[str]:
    return [_line(heads), "|" + "---|" * len(heads)]


def _line(words: Iterable[str]) -> str:
    return f"| {' | '.join(words)} |"
