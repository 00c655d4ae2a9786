"""What cannot be printed: no traceback, and no failure without a word of a change that is made."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab

ADD = ["add-range", "203.0.113.0/24", "--fwmark", "17"]
MADE = "the change is made"
REPOSITORY = str(Path(__file__).parents[2])

# Where output goes, for a shell whose "$@" is the command; `false` reads nothing, and ends first.
NOWHERE = {
    "a full disk": '"$@" > /dev/full',
    "a closed pipe": '{ sleep 0.3; "$@"; echo $? > "$CODE"; } | true; exit $(cat "$CODE")',
}
NOBODY = {
    "both on a full disk": '"$@" > /dev/full 2> /dev/full',
    "both closed": '"$@" >&- 2>&-',
    "both into closed pipes": (
        '{ { sleep 0.3; "$@"; echo $? > "$CODE"; } 2>&1; } | true; exit $(cat "$CODE")'
    ),
}


def shell(
    vipctl: Vipctl, tmp_path: Path, script: str, *words: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """A vipctl of its own, on the director, with output as the script leads it."""
    environment = os.environ | {
        "PYTHONPATH": REPOSITORY,
        "CODE": str(tmp_path / "code"),
        **variables,
    }
    argv = ["bash", "-c", script, "bash", *vipctl.argv, *words]
    return vipctl.host.run(argv, check=False, env=environment, errors="replace")


def held(vipctl: Vipctl) -> list[str]:
    return [found["range"] for found in vipctl("list-ranges")["ranges"]]


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("kind", NOWHERE)
def test_a_change_that_cannot_be_reported_is_made_and_said_to_be(
    vipctl: Vipctl, tmp_path: Path, kind: str, as_json: bool
) -> None:
    words = ["--json"] if as_json else []
    done = shell(vipctl, tmp_path, NOWHERE[kind], *words, *ADD)
    assert held(vipctl) == ["203.0.113.0/24"]
    assert (done.returncode, MADE in done.stderr) == (1, True), done
    assert done.stderr.startswith("error: cannot print: ")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("kind", NOBODY)
def test_where_nothing_can_be_said_the_exit_code_is_that_of_the_change(
    vipctl: Vipctl, tmp_path: Path, kind: str
) -> None:
    done = shell(vipctl, tmp_path, NOBODY[kind], *ADD)
    assert held(vipctl) == ["203.0.113.0/24"]
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("kind", NOWHERE)
def test_what_changed_nothing_does_not_claim_to_have(
    vipctl: Vipctl, tmp_path: Path, kind: str
) -> None:
    vipctl(*ADD)
    for words in (ADD, ["--check", "remove-range", "203.0.113.0/24"], ["list-ranges"], ["--help"]):
        done = shell(vipctl, tmp_path, NOWHERE[kind], *words)
        assert "Traceback" not in done.stderr
        assert MADE not in done.stderr
        code, said = (0, "") if kind == "a closed pipe" else (1, "error: cannot print: ")
        assert (done.returncode, done.stderr[: len(said) or None]) == (code, said), words


LOCALES = [
    {"PYTHONIOENCODING": "iso-8859-1"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "ascii:strict", "LC_ALL": "C"},
]


@pytest.mark.parametrize("variables", LOCALES, ids=str)
def test_any_locale_will_do(net: Lab, vipctl: Vipctl, tmp_path: Path, variables: dict) -> None:  # type: ignore[type-arg]
    for words in (
        ["--help"],
        [*ADD, "--leftover=reject"],
        ["set-service", "fwmark-17", "--leftover=drop"],  # "reject → drop"
        ["status"],
        ["--diff", "remove-range", "203.0.113.0/25"],
    ):
        done = shell(vipctl, tmp_path, '"$@"', *words, **variables)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), (words, done)
    refused = shell(vipctl, tmp_path, '"$@"', "add-range", "203.0.113.1–9…\udc80", **variables)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ")
    assert shell(vipctl, tmp_path, '"$@"', "--json", "list-ranges", **variables).stdout == (
        json.dumps(vipctl("list-ranges")) + "\n"
    )


def test_an_arrow_is_drawn_with_what_there_is(vipctl: Vipctl, tmp_path: Path) -> None:
    vipctl(*ADD)
    words = ["set-service", "fwmark-17", "--leftover=drop"]
    done = shell(vipctl, tmp_path, '"$@"', *words, PYTHONIOENCODING="iso-8859-1")
    assert "leftover reject -> drop" in done.stdout
