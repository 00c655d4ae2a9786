"""Holds what commands print with --json to the models of it."""

import json
from typing import Any

from tests.harness.command import Vipctl
from vipctl.cli.contract import commands
from vipctl.cli.contract.objects import Failure


class Contract:
    """Runs commands on one host, and notes which of them printed their own object."""

    def __init__(self, vipctl: Vipctl) -> None:
        self.vipctl = vipctl
        self.held = set[str]()

    def __call__(self, line: str) -> dict[str, Any]:
        """Run a command; return its object, which is of the form that is documented."""
        words = line.split()
        done = self.vipctl.text("--json", *words)
        found: dict[str, Any] = json.loads(done.stdout)
        command = next(word for word in words if not word.startswith("-"))
        if "error" in found:
            assert done.code, found
            Failure.model_validate(found)
        else:
            commands.of(command).model_validate(found)
            self.held.add(command)
        return found
