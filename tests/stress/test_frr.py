"""FRR in BIRD's place: Debian 12's. That of Debian 13 does not do as it is started here."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.netns.test_announced import follow_a_device


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("number", [64512, 64500], ids=["another AS", "the same AS"])
def test_routes_are_withdrawn_with_a_device(stack: ExitStack, tmp_path: Path, number: int) -> None:
    follow_a_device(stack, tmp_path, "frr", number)
