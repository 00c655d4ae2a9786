"""docs/explain.md, and the ids of causes in the code."""

import re
import subprocess
import sys

from tests.harness.guest import REPOSITORY
from vipctl.diagnosis.causes import CAUSES, HINTS

CODE = (REPOSITORY / "vipctl" / "diagnosis").glob("*.py")
TEXT = "".join(path.read_text() for path in CODE if path.name != "causes.py")


def test_the_page_is_of_now() -> None:
    script = [sys.executable, str(REPOSITORY / "scripts" / "write-causes"), "--print"]
    page = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert (REPOSITORY / "docs" / "explain.md").read_text() == page


def test_every_id_is_one_that_the_code_names() -> None:
    """That it names no other, tests/netns/test_explain.py holds."""
    words = set(re.findall(r'"([a-z0-9-]+)"', TEXT))
    assert CAUSES.keys() | HINTS.keys() <= words
    assert set(re.findall(r'Hint\(\s*"([a-z-]+)"', TEXT)) == HINTS.keys()


def test_ids_are_of_causes_or_of_hints() -> None:
    assert not CAUSES.keys() & HINTS.keys()
    assert all(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", name) for name in (*CAUSES, *HINTS))
