"""What every test needs: a kill that cleans up, and no leftovers of runs that could not."""

import os

import pytest

from tests.harness.cleanup import terminate_like_interrupt
from tests.harness.netns import remove_orphans


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the process before any fixture runs."""
    terminate_like_interrupt()
    remove_orphans()
    os.environ["TERM"] = "xterm"  # whatever terminal they are started from
    os.environ.pop("NO_COLOR", None)
