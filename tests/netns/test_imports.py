"""A command imports what it needs: an operator waits for nothing else."""

import json
import sys
import sysconfig

import pytest

from tests.harness.command import Vipctl
from tests.harness.guest import REPOSITORY
from tests.harness.lab import Lab

PATHS = [str(REPOSITORY), sysconfig.get_path("purelib")]
LISTED = """
import sys
sys.path += sys.argv[1:3]
import contextlib, io
from vipctl.cli import run
with contextlib.redirect_stdout(io.StringIO()):
    assert run(sys.argv[4:]) == int(sys.argv[3])
found = sorted(sys.modules)
import json
print(json.dumps(found))
"""
HEAVY = {"numpy", "pyroute2", "pydantic", "ruamel.yaml", "iptc", "vipctl.linux.shim"}
HEAVY |= {"logging", "rich", "tempfile"}
# Each takes as long as ten to twenty modules of vipctl's.
OF_METADATA = {"tempfile"}  # which importlib.metadata imports
DEAR = {"dataclasses", "hashlib", "locale", "pathlib", "socket", "urllib.parse"}


def imported(net: Lab, *words: str, code: int = 0) -> set[str]:
    """Without what this environment imports wherever it is started, for a tree that is edited."""
    argv = [sys.executable, "-S", "-c", LISTED, *PATHS, str(code), *words]
    return set(json.loads(net.director.run(argv).stdout))


@pytest.mark.parametrize("word", ["--version", "--help"])
def test_the_help_needs_the_command_line_alone(net: Lab, word: str) -> None:
    found = imported(net, word)
    assert found & (HEAVY | DEAR) <= {"locale"}  # for click's headings
    assert {name for name in found if name.startswith("vipctl.")} <= {
        *("vipctl.errors", "vipctl.log"),
        *("vipctl.cli", "vipctl.cli.changing", "vipctl.cli.showing", "vipctl.cli.result"),
        *("vipctl.cli.base", "vipctl.cli.options", "vipctl.cli.output", "vipctl.cli.audit"),
        *("vipctl.cli.sections", "vipctl.cli.directing"),
    }


@pytest.mark.parametrize(
    ("method", "needed"),
    [("fwmark", "vipctl.linux.nftables.elements"), ("route", "vipctl.linux.routing.localroutes")],
)
def test_one_more_range_needs_its_method(
    net: Lab, vipctl: Vipctl, method: str, needed: str
) -> None:
    """And libnftables only for rules that are not there yet."""
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17", "--method", method)
    words = ("--state-dir", str(vipctl.state_dir), "add-range", "--fwmark", "17")
    found = imported(net, *words, "192.0.2.0/24")
    assert needed in found
    assert found & {*HEAVY, *DEAR, "nftables", "vipctl.linux.nftables.replay"} == set()
    found = imported(net, *words, "198.51.100.7")
    assert "nftables" in found
    assert found & HEAVY == set()


def test_legacy_tables_need_no_setuptools(net: Lab, vipctl: Vipctl) -> None:
    words = ("add-range", "192.0.2.7", "--fwmark", "17", "--method", "fwmark-iptables")
    found = imported(net, "--state-dir", str(vipctl.state_dir), *words)
    assert "iptc" in found
    assert found & {"setuptools", "distutils"} == set()


def test_explaining_needs_the_method_of_the_vip(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", "203.0.113.0/24", "--service", "web", "--method=tproxy", "--to-port=80")
    words = ("--state-dir", str(vipctl.state_dir), "explain", "203.0.113.7")
    assert imported(net, *words, code=3) & (HEAVY | DEAR) == set()


def test_examining_needs_no_library(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17", "--method", "route")
    words = ("--state-dir", str(vipctl.state_dir), "doctor")
    assert imported(net, *words, code=3) & (HEAVY | {"nftables"}) <= OF_METADATA
