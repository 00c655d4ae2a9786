"""What is printed in pieces is what json makes of it at once, and is never there all at once."""

import json
import tracemalloc
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.committing import commit
from vipctl.addresses.spans import Spans
from vipctl.operate import pieces
from vipctl.operate.report import Reporter
from vipctl.services.change import Change, Place
from vipctl.services.service import Service
from vipctl.state.store import Store

NUMBER = 50_000
words = st.lists(st.text(st.characters(codec="ascii", min_codepoint=32)), min_size=1)


@given(words, words, st.sampled_from([None, 1, 2]), st.integers(1, 4))
def test_pieces_are_what_json_makes(
    some: list[str], others: list[str], indent: int | None, many: int
) -> None:
    def form(some: list[str], others: list[str]) -> object:
        return {"a[": {"ranges": some, "no": []}, "b": [1, {"ranges": others}], "c": "\1"}

    lists = [map(json.dumps, some), map(json.dumps, others)]
    with mock.patch.object(pieces, "PIECE", many):
        made = "".join(pieces.of(form([pieces.HERE], [pieces.HERE]), lists, indent))
    assert made == json.dumps(form(some, others), indent=indent)


@pytest.fixture
def reporter(tmp_path: Path) -> Reporter:
    """Of many addresses of one service; another has none."""
    spans = Spans.from_pairs(4, [(1 << 24 | 2 * n,) * 2 for n in range(NUMBER)])
    services = (Service("web", 17), Service("dns", 18))
    with Store.open(tmp_path) as store:
        commit(store, Change(after=services, taken={Place("web", 4, 0): spans}))
    return Reporter(tmp_path)


@pytest.mark.parametrize("command", ["listing", "export"])
def test_ranges_are_never_there_all_at_once(reporter: Reporter, command: str) -> None:
    made = reporter.listing(None) if command == "listing" else reporter.export(as_json=True)
    next(made)  # with what it imports
    tracemalloc.start()
    assert sum(map(len, made)) > 15 * NUMBER
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * NUMBER


def test_a_listing_has_them_all(reporter: Reporter) -> None:
    found = json.loads("".join(reporter.listing(None)))
    assert found.pop("ranges")[:: NUMBER - 1] == [
        {"service": "web", "range": f"1.{n // 65536}.{n // 256 % 256}.{n % 256}/32"}
        for n in (0, 2 * NUMBER - 2)
    ]
    assert found == {"format": 1, "changed": False, "pending": False}
    assert json.loads("".join(reporter.listing("dns")))["ranges"] == []
