"""The soak of `make soak`, a short one; VIPCTL_SEED makes it the same again."""

import os
import time

from tests.stress.soak.run import run

SECONDS = 30.0  # after the round that warms up


def test_random_changes_under_traffic_are_as_the_model_has_them() -> None:
    seed = os.environ.get("VIPCTL_SEED") or str(time.time_ns())
    assert run(seed, SECONDS, alone=False).complaints == [], f"VIPCTL_SEED={seed}"
