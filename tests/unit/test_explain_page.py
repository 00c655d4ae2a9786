"""docs/explain.md and docs/doctor.md, and the ids of causes in the code."""

import re
import subprocess
import sys

import pytest

from tests.harness.guest import REPOSITORY
from vipctl.diagnosis.causes import CAUSES, HINTS
from vipctl.diagnosis.director.findings import FINDINGS

ROOM = REPOSITORY / "vipctl" / "diagnosis"
TEXT = "".join(path.read_text() for path in ROOM.glob("*.py") if path.name != "causes.py")
DOCTOR = TEXT + "".join(
    path.read_text() for path in (ROOM / "director").glob("*.py") if path.name != "findings.py"
)


@pytest.mark.parametrize("page", ["explain", "doctor"])
def test_the_page_is_of_now(page: str) -> None:
    script = [sys.executable, str(REPOSITORY / "scripts" / "write-causes"), "--print", page]
    text = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert (REPOSITORY / "docs" / f"{page}.md").read_text() == text


def test_every_id_is_one_that_the_code_names() -> None:
    """That it names no other, tests/netns/test_explain.py holds."""
    words = set(re.findall(r'"([a-z0-9-]+)"', TEXT))
    assert CAUSES.keys() | HINTS.keys() <= words
    assert set(re.findall(r'Hint\(\s*"([a-z-]+)"', TEXT)) == HINTS.keys()


def test_every_finding_is_one_that_the_code_names() -> None:
    """That it names no other, tests/netns/test_doctor.py holds."""
    assert FINDINGS.keys() <= set(re.findall(r'"([a-z0-9-]+)"', DOCTOR))


def test_what_explain_finds_too_has_the_same_id() -> None:
    known = {**CAUSES, **HINTS}
    assert all(found is known[name] for name, found in FINDINGS.items() if name in known)
    assert all(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", name) for name in FINDINGS)


def test_every_trap_of_the_readme_has_its_place() -> None:
    text = (REPOSITORY / "docs" / "traps.md").read_text()
    traps = re.findall(r"^\*\*(.+?)\.\*\*", text, re.MULTILINE)
    page = (REPOSITORY / "docs" / "doctor.md").read_text().partition("## Traps")[2]
    rows = dict(
        re.findall(r"^\| (.+?) \| (.+) \|$", page.partition("## Findings")[0], re.MULTILINE)
    )
    assert traps
    assert set(rows) == set(traps)
    elsewhere = CAUSES.keys() | {"kernel-differs"}
    for trap, where in rows.items():
        ids = set(re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", where))
        known = elsewhere if "explain" in where else FINDINGS.keys()
        assert ids <= known | FINDINGS.keys(), trap


def test_ids_are_of_causes_or_of_hints() -> None:
    assert not CAUSES.keys() & HINTS.keys()
    assert all(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", name) for name in (*CAUSES, *HINTS))
