"""`make demo` on a machine whose own kernel has IPVS: no guest, and nothing is left."""

import sys

from tests.harness.guest import REPOSITORY
from tests.harness.netns import execute

DEMO = ("--if-needed", "--kernel", "6.12", "--", sys.executable, "-m", "examples.demo")
TRACES = ("ip netns list", "ip -brief link", "ip rule", "nft list ruleset", "ipvsadm -Sn")


def _traces() -> dict[str, str]:
    return {line: execute(line.split()).stdout for line in TRACES}


def test_it_runs_here_and_leaves_nothing() -> None:
    before = _traces()
    guest = [sys.executable, "-m", "tests.harness.guest"]
    said = execute([*guest, *DEMO], timeout=900, cwd=REPOSITORY).stdout
    assert "demo: everything was as it should be" in said
    assert "booting" not in said
    assert _traces() == before
