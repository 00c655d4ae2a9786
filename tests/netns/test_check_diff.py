"""`--check --diff` says what a command would change, and changes nothing: no kernel, no file."""

from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns import snapshot

YAML = """
services:
  fwmark-17:
    ranges: [203.0.113.0/25]
  dns:
    ranges: [192.0.2.0/24]
    ports: [udp/53]
"""
# A command; what its difference takes away; what it adds.
CHANGES = [
    ("add-range 192.0.2.0/24 --fwmark 18", [], ["+  fwmark-18:", "+    - 192.0.2.0/24"]),
    ("add-range 203.0.114.0/24 --fwmark 17", [], ["+    - 203.0.114.0/24"]),
    ("add-range 192.0.2.7 --service web", [], ["+    - 192.0.2.7/32"]),
    ("add-service new --scheduler rr", [], ["+  new:", "+    scheduler: rr"]),
    ("remove-range 203.0.113.128/25", ["-    - 203.0.113.0/24"], ["+    - 203.0.113.0/25"]),
    ("remove-range 203.0.0.0/16 2001:db8::/32", ["-  fwmark-17:", "-    - 2001:db8:1::/64"], []),
    ("add-service new --port tcp/80", [], ["+  new:", "+    - tcp/80"]),
    ("set-service web --leftover drop", ["-    leftover: reject"], ["+    leftover: drop"]),
    ("set-service fwmark-17 --ping", ["-    ping: false"], ["+    ping: true"]),
    ("remove-service web", ["-  web:", "-    - 198.51.100.0/25"], []),
    ("apply {file}", ["-  web:", "-    - 203.0.113.0/24"], ["+  dns:", "+    - 203.0.113.0/25"]),
]


@pytest.fixture
def stored(vipctl: Vipctl) -> Vipctl:
    """vipctl with two services."""
    vipctl("add-range", "203.0.113.0/24", "2001:db8:1::/64", "--fwmark", "17")
    vipctl("add-service", "web")
    vipctl("add-range", "198.51.100.0/25", "--service", "web")
    return vipctl


@pytest.mark.parametrize(("command", "gone", "come"), CHANGES, ids=[c[0] for c in CHANGES])
def test_the_difference_is_shown_and_nothing_is_changed(
    net: Lab, stored: Vipctl, tmp_path: Path, command: str, gone: list[str], come: list[str]
) -> None:
    (tmp_path / "file").write_text(YAML)
    words = command.format(file=tmp_path / "file").split()
    kernel, files = snapshot.kernel(net.director), snapshot.directory(stored.state_dir)
    shown = stored.text("--check", "--diff", *words)
    assert shown.code == 0, shown
    lines = shown.stdout.splitlines()
    assert lines[0:2] == ["--- before", "+++ after"]
    assert {*gone, *come} <= set(lines)
    assert lines[-1].startswith("would change")
    again = stored("--check", "--diff", *words)
    assert (again["changed"], again["check"]) == (True, True)
    assert snapshot.kernel(net.director) == kernel
    assert snapshot.directory(stored.state_dir) == files


def test_what_is_shown_is_what_then_happens(net: Lab, stored: Vipctl, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(YAML)
    for words in (["apply", str(tmp_path / "file")], ["set-service", "dns", "--ping"]):
        shown = stored("--check", "--diff", *words)
        done = stored("--diff", *words)
        assert {**done, "check": True} == shown
        again = stored("--check", "--diff", *words)
        assert (again["changed"], again["diff"]["before"]) == (False, again["diff"]["after"])


@pytest.mark.parametrize(
    "words",
    [
        ["add-range", "203.0.113.0/24", "--fwmark", "17"],
        ["remove-range", "203.0.113.0/24"],
        ["add-service", "web"],
        ["remove-service", "web"],
        ["restore"],
        ["apply", "{file}"],
        ["set-service", "web", "--ping"],
    ],
    ids=lambda words: words[0],
)
def test_without_a_state_directory_none_is_made(
    net: Lab, vipctl: Vipctl, tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "file").write_text(YAML)
    before = snapshot.kernel(net.director)
    done = vipctl.text("--check", "--diff", *(w.format(file=tmp_path / "file") for w in words))
    assert done.code == (3 if words[0] == "set-service" else 0), done
    for reading in ("status", "export", "list-ranges", "list-services"):
        vipctl(reading)
    assert not vipctl.state_dir.exists()
    assert snapshot.kernel(net.director) == before


def test_what_is_sent_is_said_to_who_asks(vipctl: Vipctl) -> None:
    done = vipctl.text("-v", "add-range", "203.0.113.0/24", "--fwmark", "17")
    assert "routing: add ip -4 rule" in done.stderr
    assert "nft: " in done.stderr
    assert not vipctl.text("add-range", "203.0.114.0/24", "--fwmark", "17").stderr


def test_health_checks_are_no_dry_run(vipctl: Vipctl) -> None:
    vipctl("add-service", "web", "--port", "tcp/80", "--check", "tcp")
    done = vipctl("set-service", "web", "--check", "http:/", "--check")
    assert (done["check"], done["changed"]) == (True, True)
    assert vipctl("list-services")["services"]["web"]["checks"] == ["tcp"]
    vipctl("set-service", "web", "--check", "http:/", "--check", "tcp:81,every=5s")
    stored = vipctl("list-services")["services"]["web"]["checks"]
    assert stored == ["http:/", "tcp:81,every=5s"]
    code, error = vipctl.error("set-service", "web", "--check", "tcp:80,evry=5")
    assert code == 2
    assert "unexpected 'evry=5'" in error["message"]
    vipctl("set-service", "web", "--check", "no")
    assert vipctl("list-services")["services"]["web"]["checks"] == []
