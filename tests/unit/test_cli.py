"""The command line: words in; text, JSON and an exit code out. Nothing here changes a kernel."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import vipctl
from tests.harness.netns import Namespace
from tests.unit.checked import Vipctl
from vipctl.cli import run
from vipctl.cli.base import group

COMMANDS = group.list_commands(click.Context(group))


def test_only_the_command_that_is_asked_for_is_made(tmp_path: Path) -> None:
    script = (
        "import sys; from vipctl.cli import run; from vipctl.cli.base import group;"
        "run(sys.argv[1:]);"
        "sys.exit(str(list(group.commands)))"
    )
    argv = [sys.executable, "-c", script, "--state-dir", str(tmp_path), "list-services"]
    made = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert made.stderr == "['list-services']\n"


# usage

USAGE = {
    "no command": (),
    "an unknown command": ("accept",),
    "an unknown option": ("status", "--frobnicate"),
    "an option of another command": ("status", "--force"),
    "a missing argument": ("add-range",),
    "too many arguments": ("add-service", "web", "203.0.113.0/24"),
    "a missing value": ("add-range", "203.0.113.0/24", "--service"),
    "no service": ("add-range", "203.0.113.0/24"),
    "a bad range": ("add-range", "203.0.113.256", "--service", "web"),
    "a bad range among good ones": ("remove-range", "203.0.113.1", "x", "203.0.113.2"),
    "a missing list": ("add-range", "@/none", "--fwmark", "17"),
    "an empty list": ("add-range", "@/dev/null", "--fwmark", "17"),
    "nothing on standard input": ("add-range", "-", "--fwmark", "17"),
    "endless junk": ("add-range", "@/dev/zero", "--fwmark", "17"),
    "a bad service": ("add-range", "203.0.113.1", "--service", "-web"),
    "a reserved name": ("add-service", "fwmark-17"),
    "a bad mark": ("add-range", "203.0.113.1", "--fwmark", "0"),
    "acceptance only that balances": (
        *("add-range", "203.0.113.1", "--fwmark", "17", "--real", "10.0.1.11"),
    ),
    "a name of another mark": (
        *("add-range", "203.0.113.1", "--service", "fwmark-17", "--fwmark", "18"),
    ),
    "a name that is no mark": ("add-range", "203.0.113.1", "--service", "fwmark-0x11"),
    "the name of acceptance only that balances": (
        *("add-range", "203.0.113.1", "--service", "fwmark-17", "--real", "10.0.1.11"),
    ),
    "a bad real server": ("add-service", "web", "--real", "web1"),
    "a bad port": ("add-service", "web", "--port", "80"),
    "a bad scheduler": ("add-service", "web", "--scheduler", "best"),
    "a bad forwarding method": ("add-service", "web", "--forward", "masq"),
    "a bad persistence": ("add-service", "web", "--persistence", "forever"),
    "a bad method": ("add-service", "web", "--method", "magic"),
    "a bad leftover": ("add-service", "web", "--leftover", "accept"),
    "nothing to set": ("set-service", "web"),
    "a weight that is missing": ("set-real", "web", "10.0.1.11"),
    "a weight that is too much": ("add-real", "web", "10.0.1.11,weight=65536"),
    "a file of rules that is none": ("import", "ipvsadm", "/etc/passwd"),
    "a file of another program": ("import", "haproxy", "/dev/null"),
    "a missing document": ("apply", "/none"),
}


@pytest.mark.parametrize("kind", USAGE)
def test_a_usage_error_is_text_on_stderr(vipctl_check: Vipctl, kind: str) -> None:
    done = vipctl_check(*USAGE[kind])
    assert (done.code, done.stdout) == (2, "")
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")


@pytest.mark.parametrize("kind", USAGE)
def test_with_json_it_is_an_object_on_stdout(vipctl_check: Vipctl, kind: str) -> None:
    done = vipctl_check("--json", *USAGE[kind])
    assert (done.code, done.stderr) == (2, "")
    error = json.loads(done.stdout)["error"]
    assert error.keys() == {"kind", "message", "hint"}
    assert error["kind"] == "usage"
    assert error["hint"]
    assert vipctl_check(*USAGE[kind]).stderr.startswith(f"error: {error['message']}\n")


REFUSED = {
    "every address": ("add-range", "0.0.0.0/0", "--fwmark", "17"),
    "host bits": ("add-range", "203.0.113.7/24", "--fwmark", "17"),
    "loopback": ("add-range", "::1", "--fwmark", "17"),
    "a service that is not there": ("add-range", "203.0.113.0/24", "--service", "web"),
    "a list of one": ("list-ranges", "--service", "web"),
    "a real server of none": ("add-real", "web", "10.0.1.11"),
    "a port with dr": (*("add-service", "web", "--real", "10.0.1.11:80", "--forward", "dr"),),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_says_why_and_what_to_do(vipctl_check: Vipctl, kind: str) -> None:
    done = vipctl_check("--json", *REFUSED[kind])
    assert done.code == 3
    error = json.loads(done.stdout)["error"]
    assert (error["kind"], bool(error["message"]), bool(error["hint"])) == ("refused", True, True)


def test_without_root_the_cure_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.seteuid(65534)
    try:
        code = run(["--check", "--state-dir", str(tmp_path / "state"), "remove-service", "web"])
    finally:
        os.seteuid(0)
    assert code == 5
    assert "sudo" in capsys.readouterr().err


# what does nothing


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("word", ["--help", "-h"])
def test_every_command_has_help(vipctl_check: Vipctl, command: str, word: str) -> None:
    done = vipctl_check(command, word)
    assert (done.code, done.stderr) == (0, "")
    usage, _, rest = done.stdout.partition("\n\n")
    assert usage.startswith(f"Usage: vipctl {command} ")
    assert len(rest.split("\n\n")[0]) > 20, "no word on what it does"


def test_the_commands_are_those_of_the_contract() -> None:
    reading = {
        "announce",
        "diff",
        "doctor",
        "explain",
        "list-ranges",
        "list-services",
        "list-checks",
        "log",
        "lookup",
        "metrics",
        "export",
        "import",
        "status",
    }
    ranges = {"add-range", "remove-range", "move-range"}
    services = {"add-service", "set-service", "remove-service", "rename-service"}
    services |= {"add-port", "remove-port"}
    reals = {"add-real", "set-real", "remove-real", "drain-real", "undrain-real", "replace-real"}
    director = {"set-director", "set-sync", "remove-sync", "activate", "deactivate"}
    every = (
        reading
        | ranges
        | services
        | reals
        | director
        | {"apply", "restore", "configure", "watch", "sync"}
    )
    assert set(COMMANDS) == every


def test_the_version_is_that_of_the_package(vipctl_check: Vipctl) -> None:
    done = vipctl_check("--version")
    assert (done.code, done.stdout) == (0, f"vipctl, version {vipctl.__version__}\n")


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["--json", "list-ranges"], {"changed": False, "ranges": [], "pending": False}),
        (["--json", "list-services"], {"changed": False, "services": {}, "pending": False}),
        (["--json", "export"], {"services": {}}),
    ],
)
def test_reading_an_absent_state(
    vipctl_check: Vipctl, tmp_path: Path, words: list[str], printed: dict[str, object]
) -> None:
    done = vipctl_check(*words)
    assert (done.code, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report == report | printed
    assert list(tmp_path.iterdir()) == []


def kernel(host: Namespace) -> str:
    listings = ("nft list ruleset", "ip rule", "ip -6 rule", "ip route show table all")
    return "".join(host.run(listing.split()).stdout for listing in listings)


def test_check_leaves_no_trace_and_says_what_would_be(
    vipctl_check: Vipctl, host: Namespace, tmp_path: Path
) -> None:
    before = kernel(host)
    done = vipctl_check("--json", "--diff", "add-range", "203.0.113.0/24", "--fwmark", "0x11")
    report = json.loads(done.stdout)
    assert (done.code, report["changed"], report["check"]) == (0, True, True)
    assert report["added"] == {"prefixes": 1, "addresses": 256}
    assert report["diff"]["before"] == "services: {}\n"
    assert "fwmark-17" in report["diff"]["after"]
    assert list(tmp_path.iterdir()) == []
    assert kernel(host) == before


# the program


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["status", "--frobnicate"], 2)])
def test_the_program_prints_all_and_ends_with_the_code(words: list[str], code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vipctl", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert done.stdout.startswith("Usage: vipctl") is (code == 0)
    assert done.stderr.startswith("error: ") is (code == 2)
    assert (done.stdout + done.stderr).endswith("\n")


def test_help_lists_each_command_once_with_whole_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["--help"]) == 0
    _, listed = capsys.readouterr().out.split("VIPs and services:")
    found = [line.split()[0] for line in listed.splitlines() if line.startswith("  ")]
    assert sorted(found) == COMMANDS
    assert "..." not in listed
