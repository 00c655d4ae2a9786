"""Which cells a run measures, and what keeps their words."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance import results
from tests.conformance.cell import Cell
from tests.conformance.cells import covering, everything
from tests.conformance.expectations import expected
from tests.conformance.measuring import Measuring, in_order
from tests.conformance.site import site
from tests.harness import module
from vipctl.methods import NAMES


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the suite's options."""
    group = parser.getgroup("conformance")
    group.addoption("--everything", action="store_true", help="not only the covering part")
    group.addoption("--cells", default="", metavar="WORDS", help="such as route,6,nat")
    group.addoption("--methods", default="", metavar="NAMES", help="such as shim,route; or all")
    group.addoption("--record", type=Path, metavar="FILE", help="words, added to; resumes a run")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each cell of the part that is asked for."""
    if "cell" in metafunc.fixturenames:
        options = metafunc.config.option
        cells = everything() if options.everything else covering()
        methods = options.methods.split(",") if options.methods else NAMES
        chosen = [cell for cell in cells if cell.method in methods]
        metafunc.parametrize("cell", in_order(chosen), ids=str)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the cells that are not asked for, and those that an earlier run has settled."""
    words = results.read(config.option.record) if config.option.record else {}
    gone = [
        item
        for item in items
        if (cell := cell_of(item))
        and not (
            is_wanted(cell, config.option.cells) and expected(cell).word != words.get(str(cell))
        )
    ]
    items[:] = [item for item in items if item not in gone]
    config.hook.pytest_deselected(items=gone)


def cell_of(item: pytest.Item) -> Cell | None:
    """Return the cell of a test, if it is one of this suite's."""
    found = (
        item.callspec.params.get("cell")
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        else None
    )
    return found if isinstance(found, Cell) else None


def is_wanted(cell: Cell, words: str) -> bool:
    """Tell whether a cell has these words, if any."""
    return not words or cell.has(words)


@pytest.fixture(scope="package")
def vip_shim() -> Iterator[None]:
    """The module, for this package's tests alone."""
    with module.loaded():
        yield


@pytest.fixture(scope="package")
def measuring(
    request: pytest.FixtureRequest, vip_shim: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Measuring]:
    """All hosts, and the words of this run's cells."""
    record: Path | None = request.config.option.record

    def note(words: dict[Cell, str]) -> None:
        if record:
            results.append(record, {str(cell): word for cell, word in words.items()})

    cells = [cell for item in request.session.items if (cell := cell_of(item))]
    with site(tmp_path_factory.mktemp("conformance") / "state") as built:
        measured = Measuring(built, cells, note)
        yield measured
        measured.close()
