"""docs/firewall.md shows the files that the tests load, and all of them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = {path.name: path.read_text() for path in (ROOT / "examples" / "firewall").iterdir()}


def test_the_page_shows_the_files() -> None:
    page = (ROOT / "docs" / "firewall.md").read_text()
    shown = re.findall(r"`examples/firewall/(\S+)`:?\n\n```\n(.*?)```\n", page, re.DOTALL)
    assert dict(shown) == FILES
    assert page.count("```") == 2 * len(FILES) + 2 * page.count("```sh")
