"""The section of docs/checks.md that a benchmark writes."""

from benchmarks.checks.page import TITLE, Cost, written

COST = Cost("vipctl watch", 1000, 500.0, 0.25, 48.0, {"refuse": [4.0, 5.0, 6.0]})
PAGE = "# Health checks\n\nText.\n\n## What asking costs\n\nMore.\n"


def test_a_section_is_written_and_written_again() -> None:
    first = written(PAGE, [COST], "6.12")
    assert first.startswith(PAGE)
    assert "| vipctl watch | 500 | 25.0 % | 500 µs | 48 MB | 5.0 s, 6.0 s |" in first
    after = f"{first}\n## What follows\n\nEnd.\n"
    again = written(after, [COST], "6.13")
    assert again == after.replace("6.12", "6.13")
    assert again.count(TITLE) == 1
