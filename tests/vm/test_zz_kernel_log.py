"""The last test: nothing that the others did has upset the kernel."""

import re

from tests.harness.netns import execute

TROUBLE = re.compile(
    r"WARNING|BUG|Oops|Call Trace|refcount|general protection|scheduling while atomic"
    r"|waiting for \S+ to become free|possible recursive locking|IPVS:.*(fail|error)",
    re.IGNORECASE,
)
START = "vipctl-guest: the command starts"


def test_kernel_has_not_complained() -> None:
    log = execute(["dmesg"]).stdout
    since = log.rpartition(START)[2]
    assert [line for line in since.splitlines() if TROUBLE.search(line)] == []
