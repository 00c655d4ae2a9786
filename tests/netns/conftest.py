"""A director of one's own for every test: building one takes less time than cleaning one up."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab, lab
from tests.netns import snapshot


@pytest.fixture
def net() -> Iterator[Lab]:
    """A client and a director; nothing here balances, so there are no real servers."""
    with lab(reals=0) as built:
        snapshot.settle(built.director)
        yield built


@pytest.fixture
def vipctl(net: Lab, tmp_path: Path) -> Vipctl:
    """vipctl on the director."""
    return Vipctl(net.director, tmp_path / "state")
