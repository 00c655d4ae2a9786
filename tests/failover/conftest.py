"""The site of each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.failover.site import Site, site
from tests.harness.netns import execute


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    execute(["modprobe", "--all", "ip_vs", "tun"])
    with site(tmp_path) as built:
        yield built
