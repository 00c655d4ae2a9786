"""A command imports what it needs: an operator waits for nothing else."""

import json
import sys

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab

LISTED = """
import contextlib, io, json, sys
from vipctl.cli import run
with contextlib.redirect_stdout(io.StringIO()):
    assert run(sys.argv[1:]) == 0
print(json.dumps(sorted(sys.modules)))
"""
HEAVY = {"numpy", "pyroute2", "pydantic", "ruamel.yaml", "iptc", "tabulate", "vipctl.shim"}
HEAVY |= {"logging", "tempfile"}


def imported(net: Lab, *words: str) -> set[str]:
    return set(json.loads(net.director.run([sys.executable, "-c", LISTED, *words]).stdout))


@pytest.mark.parametrize("word", ["--version", "--help"])
def test_the_help_needs_the_command_line_alone(net: Lab, word: str) -> None:
    ours = {name for name in imported(net, word) if name.startswith("vipctl.")}
    assert ours <= {
        *("vipctl.choices", "vipctl.errors", "vipctl.methods", "vipctl.log"),
        *("vipctl.cli", "vipctl.cli.commands", "vipctl.cli.options", "vipctl.cli.output"),
    }


@pytest.mark.parametrize(
    ("method", "needed"), [("fwmark", "vipctl.elements"), ("route", "vipctl.localroutes")]
)
def test_one_more_range_needs_its_method(
    net: Lab, vipctl: Vipctl, method: str, needed: str
) -> None:
    """And libnftables only for rules that are not there yet."""
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17", "--method", method)
    words = ("--state-dir", str(vipctl.state_dir), "add-range", "--fwmark", "17")
    found = imported(net, *words, "192.0.2.0/24")
    assert needed in found
    assert found & {*HEAVY, "nftables"} == set()
    found = imported(net, *words, "198.51.100.7")
    assert "nftables" in found
    assert found & HEAVY == set()


def test_legacy_tables_need_no_setuptools(net: Lab, vipctl: Vipctl) -> None:
    words = ("add-range", "192.0.2.7", "--fwmark", "17", "--method", "fwmark-iptables")
    found = imported(net, "--state-dir", str(vipctl.state_dir), *words)
    assert "iptc" in found
    assert found & {"setuptools", "distutils"} == set()
