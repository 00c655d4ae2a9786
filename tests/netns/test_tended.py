"""The soak of `vipctl watch` of `make soak`, a short one; VIPCTL_SEED makes it the same again."""

import os
import time

from tests.stress.tended.soak import run

SECONDS = 20.0


def test_failures_drift_and_changes_beside_the_daemon_are_as_the_model_has_them() -> None:
    wrong = run(os.environ.get("VIPCTL_SEED") or str(time.time_ns()), SECONDS)
    assert not wrong, "; ".join(wrong)
