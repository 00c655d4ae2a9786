"""The module's count of changes vouches for prefixes only while all of its steps are vipctl's."""

from collections.abc import Iterator

import pytest

from tests.harness import module
from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from vipctl.linux import shim
from vipctl.services import batch
from vipctl.services.change import Entry, Shape

WEB = ("--service=web", "--method=shim")


@pytest.fixture(autouse=True, scope="module")
def _loaded() -> Iterator[None]:
    with module.loaded():
        yield


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One for each time that all prefixes are read."""
    found, real = [], shim.prefixes

    def prefixes() -> batch.Batch:
        found.append("all")
        return real()

    monkeypatch.setattr(shim, "prefixes", prefixes)
    return found


def test_own_changes_need_no_new_comparison(vipctl: Vipctl, read: list[str]) -> None:
    for words in (
        ("add-range", "203.0.113.0/24", "2001:db8:1::/64", *WEB, "--real=10.0.1.11"),
        ("add-range", *(f"198.18.0.{host}" for host in range(0, 256, 2)), *WEB),
        ("set-service", "web", "--leftover=drop", "--port=tcp/80", "--fwmark=77"),
        ("add-range", "192.0.2.0/24", "--fwmark=18", "--method=shim"),
        ("remove-range", "198.18.0.0/24", "2001:db8:1::/64"),
        ("remove-service", "fwmark-18"),
    ):
        vipctl(*words)
        assert vipctl("restore")["changed"] is False
    assert read == []


def test_what_others_did_is_restored_by_the_next_change(net: Lab, vipctl: Vipctl) -> None:
    """The module's own count of prefixes tells of it."""
    vipctl("add-range", "203.0.113.0/24", "198.51.100.0/24", *WEB, "--real=10.0.1.11")
    taken = batch.of_entries([Entry(Shape(4, 0, 24), 0xCB007100, 0x1000)])
    with net.director:
        before = shim.prefixes()
        with shim.changing() as commands:
            commands.delete(taken)
    assert vipctl("add-range", "192.0.2.0/24", *WEB)["restored"] is True
    vipctl("remove-range", "192.0.2.0/24")
    with net.director:
        assert shim.prefixes() == before
    assert vipctl("restore")["changed"] is False
