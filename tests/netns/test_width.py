"""What commands print for people fits their terminal."""

import re
import sys

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.terminal import printed
from tests.netns.test_health import keep
from vipctl.services.checks import parse_checks
from vipctl.services.real import parse_reals
from vipctl.services.service import Service
from vipctl.services.syntax import parse_scheduler
from vipctl.services.values import Port

COLUMNS = (60, 80, 200)
STYLE = re.compile(r"\x1b\[[0-9;]*m")


PORTS = tuple(Port("tcp", number) for number in range(8000, 8040, 2))
REALS = parse_reals(["10.0.1.11", "fd00:1::11,weight=100,upper=20,lower=10"])
SHOP = Service(
    "a-rather-long-name",
    0x1000,
    ports=PORTS,
    reals=REALS,
    checks=parse_checks(["tcp:8000"]),
    scheduler=parse_scheduler("wrr"),
)


@pytest.fixture
def filled(vipctl: Vipctl) -> Vipctl:
    """Services of which much is to be told."""
    vipctl("add-range", "198.51.100.0/24", "--fwmark=17", "--method=route")
    keep(vipctl, SHOP)
    return vipctl


@pytest.mark.parametrize("columns", COLUMNS)
def test_no_line_is_longer_than_the_terminal(net: Lab, filled: Vipctl, columns: int) -> None:
    net.director.run(["nft", "delete", "table", "arp", "vipctl_route"])
    for command in ("status", "list-services", "list-ranges", "list-checks"):
        code, lines = printed(net.director, [*filled.argv, command], columns)
        text = STYLE.sub("", "\n".join(lines))
        assert code == 0
        assert "a-rather-long-name" in text
        told = [line for line in text.splitlines() if not line.lstrip().startswith("→")]
        assert max(map(len, told)) <= columns, text
        assert "tcp/8038" in text or command.startswith(("list-r", "list-c"))


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colours_are_for_terminals_that_have_them(
    net: Lab, filled: Vipctl, variables: dict[str, str], coloured: bool
) -> None:
    _, lines = printed(net.director, [*filled.argv, "status"], 80, **variables)
    assert bool(STYLE.search("\n".join(lines))) is coloured


def test_a_pipe_has_no_width(net: Lab, filled: Vipctl) -> None:
    said = net.director.run([*filled.argv, "list-services"]).stdout
    assert len(said.splitlines()) == 3, said
    assert max(map(len, said.splitlines())) > 200
    narrow = net.director.run(["env", "COLUMNS=60", *filled.argv, "list-services"]).stdout
    assert narrow == said


def test_the_variable_columns_comes_before_what_the_terminal_says(net: Lab, filled: Vipctl) -> None:
    _, lines = printed(net.director, [*filled.argv, "list-services"], 200, COLUMNS="80")
    assert max(len(STYLE.sub("", line)) for line in lines) <= 80


@pytest.mark.parametrize("word", ["-q", "--quiet"])
def test_quiet(net: Lab, filled: Vipctl, word: str) -> None:
    """Exit codes, warnings and errors are left; so is what another program asked for."""
    done = filled.text("status", "--exit-code", word)
    assert (done.code, done.stdout) == (3, "")
    assert filled.text(word, "remove-service", "fwmark-17").stdout == ""
    assert filled.text(word, "--check", "--diff", "remove-service", "fwmark-17").stdout == ""
    failed = filled.text("status", word, "fwmark-17")
    assert (failed.code, failed.stdout) == (3, "")
    assert failed.stderr.startswith("error: there is no service")
    assert filled("-q", "list-services")["services"]
    assert "a-rather-long-name" in filled.text(word, "export").stdout


def test_quiet_shows_no_progress(net: Lab, vipctl: Vipctl) -> None:
    argv = [sys.executable, "-m", "vipctl", "--state-dir", str(vipctl.state_dir), "-q"]
    code, lines = printed(net.director, [*argv, "add-range", "192.0.2.0/24", "--fwmark=17"], 80)
    assert (code, [line for line in lines if not line.startswith("warning")]) == (0, [])
