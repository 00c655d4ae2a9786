"""`doctor` names what ails the director, and no other; on a healthy director it names nothing.

This kernel has no IPVS, which is named wherever it is needed.
"""

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.machine import Machine
from tests.netns import snapshot
from tests.netns.ailments import Ailment
from tests.netns.complaints import COMPLAINTS, RESTORED, WEB, Complaint
from tests.netns.firewalls import Firewall
from tests.netns.test_explain import store
from vipctl.cli import run
from vipctl.diagnosis.director.findings import FINDINGS

RANGES = ["203.0.113.0/24", "2001:db8:1::/64"]
ELSEWHERE = set[str]()  # tests/vm/test_doctor.py


def printed(vipctl: Vipctl, *words: str) -> list[Any]:
    """The exit code of a command and what it prints."""
    with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()) as stderr:
        code = run(["--state-dir", str(vipctl.state_dir), *words])
    return [code, stdout.getvalue() + stderr.getvalue()]


def examined(machine: Machine, vipctl: Vipctl, *programs: list[str]) -> dict[str, Any]:
    """What `doctor` says there; its exit code says whether anything is found."""
    code, text = machine.run(lambda: printed(vipctl, "--json", "doctor"), programs)
    found: dict[str, Any] = json.loads(text)
    assert code == (3 if found["causes"] else 0), text
    ill = [step for step in found["checks"] if step["state"] == "cause"]
    assert all(step["cause"] in FINDINGS and step["fix"] and step["evidence"] for step in ill)
    assert {step["cause"] for step in ill} == set(found["causes"])
    return found


@pytest.fixture
def machine(net: Lab, tmp_path: Path) -> Machine:
    """A director's, with the unit that restores VIPs at boot."""
    made = Machine(net.director, tmp_path / "root")
    made.write(RESTORED)
    return made


def make(net: Lab, vipctl: Vipctl, machine: Machine, complaint: Complaint) -> None:
    """Ail the director as somebody would."""
    net.director.ip("route add default via 10.0.0.2", "route add ::/0 via fd00::2")
    for words in (WEB,) if complaint.reals else complaint.services:
        vipctl(*words.split())
    if complaint.reals:
        store(vipctl, "fwmark", Ailment(""))
    for one in complaint.make:
        if isinstance(one, Firewall):
            one.load(net.director)
        else:
            net.director.run(["sh", "-ec", one])
    machine.write(complaint.files)


@pytest.mark.parametrize("complaint", COMPLAINTS, ids=[f"{c.name}" for c in COMPLAINTS])
def test_what_ails_is_named_and_no_other(
    net: Lab, vipctl: Vipctl, machine: Machine, complaint: Complaint
) -> None:
    make(net, vipctl, machine, complaint)
    before = snapshot.kernel(net.director), snapshot.directory(vipctl.state_dir)
    found = examined(machine, vipctl, *complaint.programs)
    assert found["causes"] == complaint.causes, found
    assert (snapshot.kernel(net.director), snapshot.directory(vipctl.state_dir)) == before


def test_every_finding_is_made_somewhere() -> None:
    assert {cause for one in COMPLAINTS for cause in one.causes} | ELSEWHERE == set(FINDINGS)


def test_a_director_without_vips_lacks_nothing(machine: Machine, vipctl: Vipctl) -> None:
    machine.write({"/etc/systemd/system/vipctl-restore.service": None})
    assert examined(machine, vipctl)["causes"] == []


def test_another_namespace_than_the_machines_is_told(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    found = json.loads(vipctl.text("--json", "doctor").stdout)
    assert found["causes"] == []
    (step,) = [step for step in found["checks"] if step["name"] == "machine"]
    assert step["state"] == "unknown"


def test_people_get_a_numbered_list(net: Lab, vipctl: Vipctl, machine: Machine) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    machine.write({"/etc/systemd/system/multi-user.target.wants/systemd-networkd.service": "-> x"})
    code, text = machine.run(lambda: printed(vipctl, "doctor"))
    assert code == 3
    assert "  1 ✓ vipctl-restore.service restores VIPs at boot\n  2 ✗ systemd-networkd" in text
    assert text.splitlines()[-1] == "found: networkd-foreign (docs/doctor.md)"


def run_as_nobody(vipctl: Vipctl) -> Callable[[], list[Any]]:
    import os

    def act() -> list[Any]:
        os.setgid(65534)
        os.setuid(65534)
        return printed(vipctl, "--json", "doctor")

    return act


def test_without_root_it_says_what_it_has_not_seen(
    net: Lab, vipctl: Vipctl, machine: Machine
) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    code, text = machine.run(run_as_nobody(vipctl), [["/usr/bin/sleep", "600"]])
    found = json.loads(text)
    assert (code, found["causes"]) == (0, [])
    unknown = {step["name"] for step in found["checks"] if step["state"] == "unknown"}
    assert {"machine", "state"} <= unknown
