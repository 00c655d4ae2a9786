"""Which kernels the module is tried on, and what is said of them."""

from pathlib import Path

import pytest

from tests.harness.buildroot import debian_of
from tests.kernel.matrix.candidates import choose
from tests.kernel.matrix.page import PAGE, read, text
from tests.kernel.matrix.row import NO_HEADERS, Row, counted

IMAGES = [
    "linux-image-6.1.0-9-amd64",
    "linux-image-6.1.0-56-amd64",
    "linux-image-6.1.0-57-amd64",  # its headers are not there yet
    "linux-image-6.12.117+deb12-amd64",
    "linux-image-6.12.115+deb13-amd64",
    "linux-image-6.12.115+deb13.1-amd64",
    "linux-image-6.18.9+deb13-amd64",
    "linux-image-6.18.15+deb13-amd64",
    "linux-image-7.2.13+deb14-amd64",
    "linux-image-7.2.13+deb14-amd64-unsigned",
    "linux-image-7.2.13+deb14-cloud-amd64",
    "linux-image-7.2.13+deb14-rt-amd64",
    "linux-image-amd64",
    "linux-image-6.12-amd64",
]
HEADERS = [
    "linux-headers-6.1.0-9-amd64",
    "linux-headers-6.1.0-56-amd64",
    "linux-headers-6.12.117+deb12-amd64",
    "linux-headers-6.12.115+deb13-amd64",
    "linux-headers-6.12.115+deb13.1-amd64",
    "linux-headers-7.2.13+deb14-amd64",
    "linux-headers-7.2.13+deb14-common",
]
CHOSEN = [
    ("6.1.0-56-amd64", "bookworm", True),
    ("6.12.115+deb13.1-amd64", "trixie", True),
    ("6.12.117+deb12-amd64", "bookworm", True),
    ("6.18.15+deb13-amd64", "trixie", False),
    ("7.2.13+deb14-amd64", "sid", True),
]


def test_the_newest_of_each_series_and_release() -> None:
    found = choose(IMAGES, HEADERS)
    assert [(one.release, one.debian, one.has_headers) for one in found] == CHOSEN


@pytest.mark.parametrize(("release", "debian", "_"), CHOSEN)
def test_a_kernel_names_its_debian(release: str, debian: str, _: bool) -> None:
    assert debian_of(release) == debian


def row(problem: str = "", messages: int = 0, passed: int = 7, others: int = 0) -> Row:
    tests = {"a": (passed, others)}
    return Row("7.3.4+deb13-amd64", "trixie", "", "", False, messages, problem, tests)


@pytest.mark.parametrize(
    ("of", "good"),
    [
        (row(), True),
        (row(NO_HEADERS, passed=0), True),
        (row("it cannot be built"), False),
        (row(messages=1), False),
        (row(passed=0), False),
        (row(others=1), False),
    ],
)
def test_only_silence_and_passed_tests_are_good(of: Row, good: bool) -> None:
    assert of.is_good() is good


REPORT = """<testsuites><testsuite tests="4">
<testcase classname="tests.vm.test_shim" name="a"/>
<testcase classname="tests.vm.test_shim" name="b"><failure message="no"/></testcase>
<testcase classname="tests.vm.test_shim_own" name="c"><skipped message="no"/></testcase>
<testcase classname="tests.vm.test_shim_own" name="d"><properties/></testcase>
</testsuite></testsuites>"""


def test_tests_are_counted_by_file(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(REPORT)
    found = counted(row(), tmp_path / "report.xml", 1)
    assert found.tests == {"test_shim": (1, 1), "test_shim_own": (1, 1)}
    assert not found.is_good()


@pytest.mark.parametrize("status", [0, 255])
def test_an_exit_status_counts_too(tmp_path: Path, status: int) -> None:
    (tmp_path / "report.xml").write_text("<testsuite><testcase classname='a'/></testsuite>")
    assert counted(row(), tmp_path / "report.xml", status).is_good() is (status == 0)


def test_a_run_without_a_report_is_bad(tmp_path: Path) -> None:
    assert "exit status 255" in counted(row(), tmp_path / "none", 255).problem


def test_the_page_is_up_to_date() -> None:
    assert text(read()) == PAGE.read_text(), "make kernels writes it"
