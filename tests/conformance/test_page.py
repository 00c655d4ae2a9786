"""docs/methods.md is what the published words make of it; other words are noticed."""

from pathlib import Path

import pytest

from tests.conformance import results
from tests.conformance.cells import CHECKS, covering, everything
from tests.conformance.document import Page
from tests.conformance.expectations import DEVIATIONS, expected
from tests.conformance.stages import STAGES
from tests.harness.kernels import METAPACKAGES

CELLS = everything()
AS_EXPECTED = {str(cell): expected(cell).word for cell in CELLS}


def test_the_page_is_up_to_date() -> None:
    by_kernel = {kernel: results.published(kernel) for kernel in METAPACKAGES}
    assert Page(by_kernel).text() == results.PAGE.read_text(), "make conformance writes it"


def test_every_deviation_is_about_a_cell() -> None:
    assert {deviation for cell in CELLS for deviation in [expected(cell)]} >= set(DEVIATIONS)


def test_every_check_has_a_stage_and_is_covered() -> None:
    assert {CHECKS[cell.check].stage_of(cell) for cell in CELLS} == set(STAGES)
    assert {cell.check for cell in covering()} == set(CHECKS)
    assert {(c.check, c.variant) for c in covering()} == {(c.check, c.variant) for c in CELLS}


def test_what_differs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "COMMITTED", tmp_path / "methods.json")
    results.publish({"6.1": {"a": "yes", "b": "yes"}, "6.12": {"a": "yes", "b": "silence"}})
    record = tmp_path / "record"
    results.append(record, {"a": "yes", "b": "yes"})
    assert results.differences("6.1", record) == []
    assert results.differences("6.12", record) == ["b: yes, but methods.json says silence"]


def test_nothing_is_published_without_an_explanation() -> None:
    other = AS_EXPECTED | {str(cell): "lost" for cell in CELLS if cell.has("fwmark,6,tun,tcp")}
    with pytest.raises(LookupError, match="'lost' of fwmark,6,tun,tcp"):
        Page({"6.1": AS_EXPECTED, "6.12": other}).text()
