"""Every command with --json prints an object of the documented form, with real IPVS."""

from pathlib import Path

import click

from tests.harness.command import Vipctl
from tests.harness.contract import Contract
from tests.harness.lab import Lab
from tests.netns.test_json import ELSEWHERE, run_every
from vipctl.cli.base import group
from vipctl.cli.contract import commands


def test_every_command_keeps_to_it(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    contract = Contract(vipctl)
    run_every(contract, tmp_path)
    known = set(group.list_commands(click.Context(group)))
    assert contract.held == known - ELSEWHERE - set(commands.SILENT)


def test_so_does_status_with_counters(net: Lab, vipctl: Vipctl) -> None:
    words = "--real 10.0.1.11 --forward nat --source-nat auto --check tcp:80 --agent 8675"
    vipctl(*f"add-range 203.0.113.0/24 --service web {words} --feedback load".split())
    web = Contract(vipctl)("status")["services"]["web"]
    assert {"source_ports", "health", "ipvs"} <= web.keys()
    assert Contract(vipctl)("list-checks")["checks"] != []
