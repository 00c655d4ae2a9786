"""YAML that export writes: it says what it was made of, however long the line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipctl.operate.notation import parse, to_yaml


@pytest.mark.parametrize("size", range(60, 100))
def test_a_backslash_and_a_space_anywhere_in_a_long_line(size: int) -> None:
    _assert_read_back("x" * size + "\\\\é \\ é" + "y" * 30)


@given(st.text(alphabet="\\é ab'\"#:-\n\t", min_size=60, max_size=160))
def test_long_texts(text: str) -> None:
    _assert_read_back(text)


def _assert_read_back(text: str) -> None:
    assert parse(Path("vips.yaml"), to_yaml({"regex": [text]})) == {"regex": [text]}
