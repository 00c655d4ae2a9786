"""How tests ask `doctor`."""

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from tests.harness.command import Vipctl
from tests.harness.machine import Machine
from tests.harness.waiting import wait_until
from vipctl.cli import run
from vipctl.diagnosis.director.findings import FINDINGS


def printed(vipctl: Vipctl, *words: str) -> list[Any]:
    """The exit code of a command and what it prints."""
    with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()) as stderr:
        code = run(["--state-dir", str(vipctl.state_dir), *words])
    return [code, stdout.getvalue() + stderr.getvalue()]


def examined(
    machine: Machine, vipctl: Vipctl, *programs: list[str], until: Callable[[], bool] = lambda: True
) -> dict[str, Any]:
    """What `doctor` says there; its exit code says whether anything is found."""

    def act() -> list[Any]:
        wait_until(until, "the programs are ready")
        return printed(vipctl, "--json", "doctor")

    code, text = machine.run(act, programs)
    found: dict[str, Any] = json.loads(text)
    assert code == (3 if found["causes"] else 0), text
    ill = [step for step in found["checks"] if step["state"] == "cause"]
    assert all(step["cause"] in FINDINGS and step["fix"] and step["evidence"] for step in ill)
    assert {step["cause"] for step in ill} == set(found["causes"])
    return found
