"""Every cell comes to what is expected of it; docs/methods.md tells why if not to "yes"."""

from tests.conformance.cell import Cell
from tests.conformance.expectations import expected
from tests.conformance.measuring import Measuring


def test_cell(measuring: Measuring, cell: Cell) -> None:
    assert measuring.word(cell) == expected(cell).word, expected(cell).because
