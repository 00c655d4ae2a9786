"""The page and the plots beside the figures that they are made of.

python -m benchmarks.scale.documents [JSON]    (docs/benchmarks.json)
"""

import sys
from pathlib import Path

from benchmarks.scale.page import page
from benchmarks.scale.plots import plots
from benchmarks.scale.record import Results, read
from tests.harness.guest import REPOSITORY

JSON = REPOSITORY / "docs" / "benchmarks.json"


def documents(results: Results, beside: Path) -> dict[Path, str]:
    """Return what is to be in which file."""
    drawn = {beside.parent / "plots" / name: text for name, text in plots(results).items()}
    return {beside.with_suffix(".md"): page(results), **drawn}


def write(results: Results, beside: Path) -> None:
    """Write them."""
    for path, text in documents(results, beside).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def main() -> int:
    """Write them again from figures that are there."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else JSON
    write(read(path), path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
