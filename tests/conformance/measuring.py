"""Measures cells, those that need the same director together: silences then add up no more."""

import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.conformance.cell import Cell
from tests.conformance.cells import CHECKS
from tests.conformance.site import NotOffered, Site
from tests.conformance.stages import STAGES

AT_ONCE = 16  # cells
Note = Callable[[dict[Cell, str]], None]


def stage_of(cell: Cell) -> str:
    """Return the stage that a cell is measured in."""
    return CHECKS[cell.check].stage_of(cell)


def in_order(cells: Sequence[Cell]) -> list[Cell]:
    """Sort cells so that the director is changed as rarely as possible."""
    methods = list(dict.fromkeys(cell.method for cell in cells))
    stages = list(STAGES)
    return sorted(cells, key=lambda c: (methods.index(c.method), stages.index(stage_of(c))))


def _kind(cell: Cell) -> tuple[str, str]:
    return CHECKS[cell.check].kind, cell.forwarding


class Measuring:
    """The words of some cells, measured when first asked for."""

    def __init__(self, site: Site, cells: Sequence[Cell], note: Note) -> None:
        self.site, self.cells, self.note = site, cells, note
        self.words: dict[Cell, str] = {}
        self.method = ""

    def word(self, cell: Cell) -> str:
        """Return what a cell came to."""
        if cell not in self.words:
            self._measure_with(cell)
        return self.words[cell]

    def close(self) -> None:
        """Take away what the last method has on the director."""
        self.site.remove_services()

    def _measure_with(self, cell: Cell) -> None:
        """Measure all cells of the same method and stage."""
        stage = stage_of(cell)
        batch = [c for c in self.cells if c.method == cell.method and stage_of(c) == stage]
        if self.method != cell.method:
            self.site.remove_services()
            self.method = cell.method
        self.site.offer(cell.method, dict.fromkeys(map(_kind, batch)))
        with STAGES[stage](self.site), ThreadPoolExecutor(AT_ONCE) as pool:
            words = dict(zip(batch, pool.map(self._measured, batch), strict=True))
        self.words |= words
        self.note(words)

    def _measured(self, cell: Cell) -> str:
        try:
            return CHECKS[cell.check].measure(self.site, cell)
        except NotOffered as refusal:
            return str(refusal)
        except Exception as error:  # one cell's trouble is not the others'
            print(f"{cell}:")
            traceback.print_exc()
            return f"{type(error).__name__}: {error}"
