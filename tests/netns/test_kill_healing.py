"""A few of the kills of `tests/stress/test_kill_healing.py`."""

import time
from pathlib import Path

from tests.netns import kills


def test_a_daemon_that_is_killed_while_it_heals_leaves_nothing_wrong(tmp_path: Path) -> None:
    kills.at_random_moments(tmp_path, 5, str(time.time_ns()))
