"""Firewalls of the docs accept every mark that vipctl gives out, and no other."""

import re
from pathlib import Path

import pytest

from tests.harness.guest import REPOSITORY
from vipctl.services.marks import MARK_MASK, MARK_VALUE

FILES = [
    REPOSITORY / "README.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
    *sorted((REPOSITORY / "examples" / "firewall").glob("*.nft")),
]
MARKS = re.compile(r"(?:0x1000/|mark & )(0x[0-9a-f]+)(?: == (0x[0-9a-f]+))?")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_whole_block_of_marks_is_named(file: Path) -> None:
    found = {(int(mask, 16), int(value or "0x1000", 16)) for mask, value in _masks(file)}
    assert found <= {(MARK_MASK, MARK_VALUE)}


def test_there_are_some() -> None:
    assert {file.name for file in FILES if any(_masks(file))} == {
        *("traps.md", "explain.md", "firewall.md", "director.nft", "ftp.nft")
    }


def _masks(file: Path) -> list[tuple[str, str]]:
    return MARKS.findall(file.read_text())
