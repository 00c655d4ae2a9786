"""`kill -9` of `vipctl watch` while it heals and checks: others lose nothing, nothing is wrong."""

import os
import time
from pathlib import Path

import pytest

from tests.netns import kills

KILLS = 200


def test_kills_of_healing_at_random_moments(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Set VIPCTL_SEED to what is printed for the same damages again; VIPCTL_KILLS is how many."""
    seed = os.environ.get("VIPCTL_SEED") or str(time.time_ns())
    number = int(os.environ.get("VIPCTL_KILLS", KILLS))
    came_to = kills.at_random_moments(tmp_path, number, seed)
    with capsys.disabled():
        print(f"\nseed {seed}: {dict(came_to)}", end="", flush=True)
    assert came_to["had not"] > number / 5, "the moments are all too late"
    assert came_to["had said that it healed"] > number / 5, "the moments are all too early"
