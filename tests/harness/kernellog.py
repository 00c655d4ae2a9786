"""What the kernel of a guest has said since the guest's command began."""

from tests.harness.guest import COMMAND_STARTS
from tests.harness.netns import execute


def lines() -> list[str]:
    """Return all of it."""
    return execute(["dmesg"]).stdout.rpartition(COMMAND_STARTS)[2].splitlines()


def is_stuck() -> bool:
    """Tell whether a network namespace cannot go; a rmmod would wait for it, and for ever."""
    return any("to become free" in line for line in lines())
