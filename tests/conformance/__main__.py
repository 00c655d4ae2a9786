"""Measure the whole matrix under Debian's kernels, then write docs/methods.md; resumes."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.conformance import results
from tests.conformance.cell import Cell
from tests.conformance.cells import everything
from tests.conformance.document import Page
from tests.conformance.expectations import expected
from tests.harness.archive import KernelError
from tests.harness.cleanup import terminate_like_interrupt
from tests.harness.guest import REPOSITORY, SHARED, Guest, boot
from tests.harness.kernels import METAPACKAGES, kernel
from tests.harness.module import built
from tests.harness.suite import MEMORY, RECORD, UNUSED, prefixed

HOME = REPOSITORY / "build" / "conformance"
TIME_LIMIT = 6 * 3600.0
CELLS = "tests/conformance/test_conformance.py"
SWITCHING = "tests/conformance/test_switch.py"
KERNEL_LOG = "tests/vm/test_zz_kernel_log.py"


def main() -> int:
    """Measure what is not yet measured."""
    terminate_like_interrupt()
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--cells", default="", metavar="WORDS", help="such as route,6,nat")
    words = parser.parse_args().cells
    try:
        good = _measure(words)
        cells = [cell for cell in everything() if not words or cell.has(words)]
        return 0 if _conclude(cells, words) and good else 1
    except KernelError as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def record_of(series: str) -> Path:
    """Return where words of a kernel are kept between runs, of these sources only."""
    HOME.mkdir(parents=True, exist_ok=True)
    of_sources = HOME / "sources"
    if not of_sources.exists() or of_sources.read_text() != results.sources():
        for stale in HOME.glob("*.jsonl"):
            stale.unlink()
        of_sources.write_text(results.sources())
    return HOME / f"{series}.jsonl"


def _unsettled(series: str, cells: Sequence[Cell]) -> list[Cell]:
    words = results.read(record_of(series))
    return [cell for cell in cells if words.get(str(cell)) != expected(cell).word]


def _measure(words: str) -> bool:
    """Run a guest for each kernel that lacks cells; tell whether nothing went wrong there."""
    cells = [cell for cell in everything() if not words or cell.has(words)]
    pending = [series for series in METAPACKAGES if _unsettled(series, cells)]
    for series in pending:
        built(series)
    argv = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *UNUSED]
    argv += ["--everything", f"--cells={words}", f"--record={SHARED / RECORD}"]
    argv += [CELLS, KERNEL_LOG] if words else [CELLS, SWITCHING, KERNEL_LOG]
    with ThreadPoolExecutor() as pool, ExitStack() as guests:
        booted = [guests.enter_context(boot(kernel(s), argv, MEMORY)) for s in pending]
        return not any(list(pool.map(_watch, pending, booted)))


def _watch(series: str, guest: Guest) -> int:
    """Keep what the guest measures as it comes; return its exit status."""
    emit, kept, record = prefixed(series), record_of(series), guest.shared / RECORD
    if kept.exists():
        shutil.copy(kept, record)

    def keep(line: str) -> None:
        emit(line)
        if record.exists():
            shutil.copy(record, kept.with_suffix(".new"))
            kept.with_suffix(".new").replace(kept)

    emit("booting")
    return guest.explain(guest.follow(keep, TIME_LIMIT), emit)


def _conclude(cells: Sequence[Cell], words: str) -> bool:
    """Say what came out; write the documents if it is all there, and as expected."""
    unsettled = {series: _unsettled(series, cells) for series in METAPACKAGES}
    for series, missing in unsettled.items():
        seen = results.read(record_of(series))
        for cell in missing:
            print(f"{series:>5} | {cell}: {seen.get(str(cell), 'not measured')}")
    count = sum(map(len, unsettled.values()))
    if not (count or words):
        _publish(cells)
    print(f"conformance: {len(cells)} cells on {' and '.join(METAPACKAGES)}, {count} unsettled")
    return not count


def _publish(cells: Sequence[Cell]) -> None:
    by_kernel = {series: results.read(record_of(series)) for series in METAPACKAGES}
    results.publish({s: {str(c): words[str(c)] for c in cells} for s, words in by_kernel.items()})
    results.PAGE.write_text(Page(by_kernel).text())
    print(f"conformance: wrote {results.PAGE} and {results.COMMITTED.name}")


if __name__ == "__main__":
    sys.exit(main())
