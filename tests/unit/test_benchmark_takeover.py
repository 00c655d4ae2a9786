"""The section of docs/two-directors.md that a benchmark writes."""

from benchmarks.takeover.page import TITLE, Cut, table, written

CUTS = [
    Cut("vipctl", [3.6, 3.5], 0),
    Cut("alone", [3.6, 3.5], 1),
    Cut("vipctl", [3.3, 3.5], 0),
    Cut("alone", [3.0, 3.5], 2),
]
PAGE = f"# Two directors\n\nText.\n\n{TITLE}\n\nOld.\n\n## Next\n"


def test_both_and_the_ratio_of_each_round() -> None:
    lines = table(CUTS).splitlines()[2:]
    assert lines == [
        "| VRRP's own time | 3.61 | 3.61 |  |",
        "| vipctl | 3.45 (3.30 to 3.60) | 3.50 (3.50 to 3.50) | 0 |",
        "| alone | 3.30 (3.00 to 3.60) | 3.50 (3.50 to 3.50) | 3 |",
        "| ratio within a round | 1.05 (1.00 to 1.10) | 1.00 (1.00 to 1.00) |  |",
    ]


def test_a_section_is_written_in_its_place() -> None:
    made = written(PAGE, CUTS, "6.12")
    assert made.count(TITLE) == 1
    assert "Old." not in made
    assert "under Linux 6.12, in a QEMU guest" in made
    assert "as well: 2 rounds" in made
    assert made.endswith("\n\n## Next\n")
