"""IPVS is spoken to without a library that takes longer to import than all the rest."""

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns.test_imports import DEAR, HEAVY, imported


def test_changes_of_a_balanced_service_import_little(net: Lab, vipctl: Vipctl) -> None:
    real = "--real=10.0.1.11"
    vipctl("add-range", "203.0.113.0/24", "--service=web", real, "--method=fwmark")
    state = ("--state-dir", str(vipctl.state_dir))
    for words in (
        ("add-range", "192.0.2.7", "--service=web"),
        ("set-service", "web", "--scheduler=rr", "--real=10.0.1.12"),
        ("remove-range", "192.0.2.7", "--service=web"),
    ):
        found = imported(net, *state, *words)
        assert "vipctl.linux.genetlink" in found
        assert found & (HEAVY | DEAR) == set()
