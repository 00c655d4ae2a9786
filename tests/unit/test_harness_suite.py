"""The verdict on a run: nothing but tests that ran and passed is good."""

from pathlib import Path

import pytest

from tests.harness.archive import KernelError
from tests.harness.kernels import kernel
from tests.harness.progress import INTERVAL, Progress
from tests.harness.suite import Result, read_report, summarise

REPORT = '<testsuites><testsuite tests="{}" failures="{}" errors="{}" skipped="{}"/></testsuites>'


def _read(tmp_path: Path, counts: tuple[int, int, int, int], status: int) -> Result:
    report = tmp_path / "report.xml"
    report.write_text(REPORT.format(*counts))
    return read_report("6.1", report, status, 1.0)


def test_only_passed_is_good(tmp_path: Path) -> None:
    result = _read(tmp_path, (7, 0, 0, 0), 0)
    assert (result.passed, result.is_good()) == (7, True)


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        ((7, 1, 0, 0), 1),
        ((7, 0, 1, 0), 1),
        ((7, 0, 0, 1), 0),
        ((0, 0, 0, 0), 5),
        ((0, 0, 0, 0), 0),
        ((7, 0, 0, 0), 255),
    ],
    ids=["failure", "error", "skip", "no tests", "nothing", "died"],
)
def test_everything_else_is_bad(
    tmp_path: Path, counts: tuple[int, int, int, int], status: int
) -> None:
    assert not _read(tmp_path, counts, status).is_good()


@pytest.mark.parametrize("status", [0, 124, 255])
def test_missing_report_is_bad_and_named(tmp_path: Path, status: int) -> None:
    result = read_report("6.1", tmp_path / "none", status, 1.0)
    assert not result.is_good()
    assert "NO REPORT" in result.problem


@pytest.mark.parametrize(
    ("bad", "last"),
    [
        (Result("6.1", 1.0, passed=4, failed=2), "tests: 9 passed, 2 failed"),
        (Result("6.1", 1.0, passed=4, skipped=1), "tests: 9 passed, 0 failed, 1 skipped"),
        (Result("6.1", 1.0, problem="NO REPORT"), "tests: 5 passed, 0 failed"),
    ],
)
def test_one_bad_kernel_fails_the_suite(
    capsys: pytest.CaptureFixture[str], bad: Result, last: str
) -> None:
    assert summarise([Result("host", 1.0, passed=5), bad]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == last


def test_good_kernels_pass_the_suite(capsys: pytest.CaptureFixture[str]) -> None:
    assert summarise([Result("host", 1.0, passed=5), Result("6.1", 1.0, passed=4)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "tests: 9 passed, 0 failed"


def test_unknown_kernel_series_is_refused() -> None:
    with pytest.raises(KernelError, match=r"choose from 6\.1, 6\.12"):
        kernel("5.10")


def test_the_summary_names_what_did_not_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite tests="2" failures="1" errors="0" skipped="0">'
        '<testcase classname="tests.unit.a" name="test_good"/>'
        '<testcase classname="tests.unit.a" name="test_bad">'
        '<failure message="assert 1 == 2&#10;where …">trace</failure></testcase>'
        "</testsuite></testsuites>"
    )
    assert summarise([read_report("6.1", report, 1, 1.0)]) == 1
    said = capsys.readouterr().out
    assert "failure: tests.unit.a::test_bad: assert 1 == 2" in said
    assert "test_good" not in said


LINES = """
tests/unit/test_a.py::test_one PASSED                          [ 25%]
[gw1] [ 50%] PASSED tests/unit/test_b.py::test_two[a b]
collected 4 items
[gw0] [ 75%] FAILED tests/unit/test_b.py::test_three
tests/vm/test_c.py::test_four[x - y] ERROR                     [100%]
"""


def test_progress_is_counts_and_what_did_not_pass(tmp_path: Path) -> None:
    said: list[str] = []
    with (tmp_path / "log").open("w") as log:
        progress = Progress(said.append, log)
        progress.said -= INTERVAL
        for line in LINES.splitlines():
            progress.line(line)
    assert said == [
        " 25%  1 passed  tests/unit/test_a.py",
        "FAILED tests/unit/test_b.py::test_three",
        "ERROR tests/vm/test_c.py::test_four[x - y]",
    ]
    assert (progress.passed, progress.others) == (2, 2)
    assert (tmp_path / "log").read_text() == LINES
