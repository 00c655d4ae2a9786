"""examples/ansible, by ansible-core itself: what it says changed is what changed."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns import snapshot
from tests.unit.committing import commit
from vipctl.addresses.prefixes import from_spans, parse_range
from vipctl.services import planner
from vipctl.services.service import from_plain
from vipctl.state.store import Store

EXAMPLES = Path(__file__).parents[2] / "examples/ansible"
BIN = Path(sys.executable).parent
SERVICES = {"fwmark-17": {"ranges": ["203.0.113.0/24"]}}
HELD = [{"service": "fwmark-17", "range": "203.0.113.0/24"}]


@dataclass(frozen=True, slots=True)
class Ansible:
    """ansible-core, run where the director is instead of over SSH."""

    net: Lab
    scratch: Path
    variables: dict[str, Any]

    @property
    def file(self) -> Path:
        """Where playbook.yml keeps the desired state."""
        return self.scratch / "vipctl.yml"

    def ad_hoc(self, command: str) -> dict[str, Any]:
        """Run a command as README.md does; return what vipctl printed."""
        done = self._run(
            "ansible", "directors", "-b", "-m", "ansible.builtin.command", "-a", command
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout.partition(">>\n")[2])
        return found

    def play(self, playbook: str, *options: str, **variables: Any) -> tuple[dict[str, int], str]:
        """Run a playbook; return the counts of its recap and all that it printed."""
        given = ("-e", json.dumps(variables))
        done = self._run("ansible-playbook", str(EXAMPLES / playbook), *options, *given)
        text = done.stdout + done.stderr
        assert "PLAY RECAP" in text, text
        recap = re.findall(r"(\w+)=(\d+)", done.stdout.rpartition("PLAY RECAP")[2])
        return {name: int(count) for name, count in recap}, text

    def _run(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        where = ["-i", str(EXAMPLES / "inventory.yml"), "--limit", "director1.example.net"]
        here = ["--connection", "local", "-e", json.dumps(self.variables)]
        scratch = {"ANSIBLE_HOME": str(self.scratch), "ANSIBLE_REMOTE_TMP": str(self.scratch)}
        environment = os.environ | scratch | {"LC_ALL": "C.UTF-8"}
        argv = [str(BIN / program), *where, *here, *words]
        return self.net.director.run(argv, check=False, env=environment)


@pytest.fixture
def ansible(net: Lab, vipctl: Vipctl, tmp_path: Path) -> Ansible:
    variables = {
        "ansible_python_interpreter": sys.executable,
        "vipctl_executable": str(BIN / "vipctl"),
        "vipctl_state_dir": str(vipctl.state_dir),
        "vipctl_file": str(tmp_path / "vipctl.yml"),
    }
    return Ansible(net, tmp_path, variables)


def test_ad_hoc(ansible: Ansible, vipctl: Vipctl) -> None:
    command = (
        f"{BIN}/vipctl --json --state-dir {vipctl.state_dir} add-range 203.0.113.0/24 --fwmark 17"
    )
    assert ansible.ad_hoc(command)["changed"] is True
    assert ansible.ad_hoc(command)["changed"] is False
    assert vipctl("list-ranges")["ranges"] == HELD


def test_add_range(ansible: Ansible, vipctl: Vipctl) -> None:
    wanted = {"vipctl_ranges": ["203.0.113.0/24"], "vipctl_options": ["--fwmark", "17"]}
    first, text = ansible.play("add-range.yml", **wanted)
    assert (first["changed"], first["failed"]) == (1, 0), text
    assert vipctl("list-ranges")["ranges"] == HELD
    second, text = ansible.play("add-range.yml", **wanted)
    assert (second["changed"], second["failed"]) == (0, 0), text


def test_playbook(ansible: Ansible, vipctl: Vipctl) -> None:
    first, text = ansible.play("playbook.yml", vipctl_services=SERVICES)
    assert (first["changed"], first["failed"]) == (2, 0), text
    assert vipctl("list-ranges")["ranges"] == HELD
    second, text = ansible.play("playbook.yml", vipctl_services=SERVICES)
    assert (second["changed"], second["failed"]) == (0, 0), text


def test_check_mode(ansible: Ansible, vipctl: Vipctl) -> None:
    before = snapshot.kernel(ansible.net.director)
    counts, text = ansible.play("playbook.yml", "--check", "--diff", vipctl_services=SERVICES)
    assert (counts["changed"], counts["failed"]) == (2, 0), text
    assert text.count("- 203.0.113.0/24") == 2, "in the file's difference and in vipctl's"
    assert snapshot.kernel(ansible.net.director) == before
    assert not vipctl.state_dir.exists()
    assert not ansible.file.exists()


def test_a_pair_is_announced_and_compared(ansible: Ansible, tmp_path: Path) -> None:
    """Both directors here, each with a state of its own."""
    states = {name: tmp_path / f"{name}.example.net" for name in ("director1", "director2")}
    web = from_plain("web", {"fwmark": 17, "reals": ["10.0.1.11"]})
    for state in states.values():
        with ansible.net.director, Store.open(state) as store:
            commit(
                store, planner.take(store, None, web, from_spans([parse_range("203.0.113.0/24")]))
            )
    where = {
        "vipctl_state_dir": f"{tmp_path}/{{{{ inventory_hostname }}}}",
        "vipctl_local_file": f"{tmp_path}/{{{{ inventory_hostname }}}}.yml",
        "vipctl_snippet": f"{tmp_path}/{{{{ inventory_hostname }}}}.conf",
    }
    counts, text = ansible.play("pair.yml", "--limit", "directors", **where)
    assert (counts["changed"], counts["failed"]) == (2, 0), text
    written = [state.with_name(state.name + ".conf").read_text() for state in states.values()]
    assert ["priority 150" in text for text in written] == [True, False]
    with ansible.net.director, Store.open(states["director2"]) as store:
        commit(store, planner.alter(store, web, web.altered({"ping": True})))
    counts, text = ansible.play("pair.yml", "--limit", "directors", **where)
    assert counts["failed"] == 1, text
    assert "web: ping is yes here, no there" in text


def test_bad_input_fails_with_the_reason(ansible: Ansible, vipctl: Vipctl) -> None:
    services = {"fwmark-17": {"ranges": ["203.0.113.1/24"]}}
    counts, text = ansible.play("playbook.yml", vipctl_services=services)
    assert counts["failed"] == 1, text
    reason = "standard input: services.fwmark-17.ranges.0: 203.0.113.1/24 "
    assert re.search(rf'"msg": "{re.escape(reason)}', text), text
    assert vipctl("list-ranges")["ranges"] == []
    assert not ansible.file.exists()


def test_ranges_that_are_refused_fail_with_the_reason(ansible: Ansible) -> None:
    wanted = {"vipctl_ranges": ["127.0.0.1"], "vipctl_options": ["--fwmark", "17"]}
    counts, text = ansible.play("add-range.yml", **wanted)
    assert counts["failed"] == 1, text
    assert '"msg": "127.0.0.1 ' in text
