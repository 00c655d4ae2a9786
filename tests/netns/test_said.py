"""What a change is said to be is what it is: by service, whole, and the same with --check."""

from pathlib import Path

import pytest

from tests.harness.command import Vipctl, changes
from tests.harness.lab import Lab
from vipctl.errors import KernelError
from vipctl.operate import advice

MOVE = """
services:
  fwmark-17: {ranges: [203.0.113.0/25]}
  fwmark-18: {ranges: [192.0.2.0/24, 203.0.113.128/25]}
"""


@pytest.fixture
def stored(vipctl: Vipctl) -> Vipctl:
    """vipctl with two services."""
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")
    vipctl("add-range", "192.0.2.0/24", "--fwmark", "18")
    return vipctl


@pytest.mark.parametrize("check", [True, False])
def test_a_move_is_counted_by_service(
    net: Lab, stored: Vipctl, tmp_path: Path, check: bool
) -> None:
    (tmp_path / "file").write_text(MOVE)
    done = stored(*(["--check"] if check else []), "apply", str(tmp_path / "file"))
    assert changes(done) == [
        "fwmark-17: removed 128 addresses in 1 prefix",
        "fwmark-18: added 128 addresses in 1 prefix",
    ]
    nothing, half = {"prefixes": 0, "addresses": 0}, {"prefixes": 1, "addresses": 128}
    assert (done["added"], done["removed"]) == (nothing, nothing)
    assert done["by_service"] == {
        "fwmark-17": {"added": nothing, "removed": half},
        "fwmark-18": {"added": half, "removed": nothing},
    }


CHANGES = [
    ("remove-range 203.0.113.0/24", ["203.0.113.0/24", "198.51.100.7/32"], ["198.51.100.7/32"]),
    ("add-range 192.0.2.7", ["198.51.100.7/32"], ["192.0.2.7/32", "198.51.100.7/32"]),
    ("set-service fwmark-17 --ping", ["198.51.100.7/32"], ["198.51.100.7/32", "203.0.113.0/24"]),
]


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(("command", "before", "after"), CHANGES, ids=[c[0] for c in CHANGES])
def test_a_difference_has_the_ranges_that_stay(
    net: Lab, vipctl: Vipctl, command: str, before: list[str], after: list[str], check: bool
) -> None:
    vipctl("add-range", "203.0.113.0/24", "198.51.100.7", "--fwmark", "17")
    words = [*command.split(), *(["--fwmark=17"] if "add-range" in command else [])]
    shown = vipctl("--diff", *(["--check"] if check else []), *words)["diff"]
    for side, ranges in (("before", before), ("after", after)):
        assert all(f"    - {text}\n" in shown[side] for text in ranges), shown
        assert "ranges: []" not in shown[side]


def test_of_many_ranges_it_has_those_that_change(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("".join(f"10.9.{n // 100}.{n % 100 * 2}\n" for n in range(2500)))
    vipctl("add-range", f"@{tmp_path / 'list'}", "--fwmark", "17")
    shown = vipctl("--diff", "remove-range", "10.9.0.2")["diff"]
    assert "    - 10.9.0.2/32\n    - and 2,499 prefixes that stay\n" in shown["before"]
    assert "10.9.0.2/32" not in shown["after"]
    assert "    - and 2,499 prefixes that stay\n" in shown["after"]


def test_a_change_has_not_failed_because_its_advice_has(
    net: Lab, vipctl: Vipctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> tuple[str, ...]:
        raise KernelError("routing: no buffer", hint="try again")

    monkeypatch.setattr(advice, "warnings", fail)
    done = vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")
    assert done["changed"] is True
    assert "routing: no buffer" in done["warnings"][0]
