"""docs/benchmarks.md and its plots are what docs/benchmarks.json makes of them."""

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.scale import documents, record
from benchmarks.scale.page import page
from benchmarks.scale.plan import SIZES, mixed, others, vips
from benchmarks.scale.plots import plots
from benchmarks.scale.record import STOPPED, Pairs, Results, Run, Spent
from vipctl.addresses.prefixes import parse_range

FILES = documents.documents(record.read(documents.JSON), documents.JSON)


def _spent(wall: float) -> Spent:
    return Spent(wall, wall / 2, 100_000_000)


STEPS = (_spent(4.0), _spent(0.5), _spent(2.0))
PAIRS = Pairs("fwmark", 1_000, 65_536, [1.5, 1.1, 1.0], [0.1] * 3, [0.2, 0.4, 0.2])
SOME = Results(
    runs=[
        Run("fwmark", 65_536, "", *STEPS, 9_000_000),
        Run("address", 1_000, "", *STEPS, 500),
        Run("address", 65_536, STOPPED),
    ],
    pairs=[PAIRS],
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_published_is_up_to_date(path: Path) -> None:
    assert path.read_text() == FILES[path], "make bench-pages writes it"


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record.write(tmp_path / "benchmarks.json", SOME)
    assert record.read(tmp_path / "benchmarks.json") == SOME
    assert record.read(tmp_path / "none") == Results()


def test_a_page_tells_who_was_stopped() -> None:
    text = page(SOME)
    assert "one address per VIP takes more than 30 times as long" in text
    assert "| one address per VIP | (4 s) | more than **30** (stopped) |" in text


def test_a_page_tells_which_limit_was_kept() -> None:
    text = page(SOME)
    assert "| **1.10** kept | 200 ms kept | 100 ms |" in text


def test_a_plot_of_anything_is_xml() -> None:
    for text in plots(SOME).values():
        ElementTree.fromstring(text)
    for text in plots(Results()).values():
        ElementTree.fromstring(text)


@pytest.mark.parametrize("version", [4, 6])
def test_sizes_share_addresses_with_no_others(version: int) -> None:
    small, large = vips(version, SIZES[0]), vips(version, SIZES[1])
    assert large[: SIZES[0]] == small
    assert len(set(large)) == SIZES[1]
    assert not set(large) & set(others(version))


def test_mixed_prefixes_are_disjoint() -> None:
    spans = sorted(parse_range(prefix)[1] for prefix in mixed(900))
    assert len({prefix.partition("/")[2] for prefix in mixed(900)}) == 9
    assert all(one[1] < next_one[0] for one, next_one in pairwise(spans))
