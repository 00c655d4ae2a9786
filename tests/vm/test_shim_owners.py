"""Two state directories and the module: whose its state is, it says itself."""

from collections.abc import Iterator

import pytest

from tests.harness import module
from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns import owners, snapshot
from tests.stress.netlink.client import Client
from vipctl.linux import shim
from vipctl.linux.genetlink import Family
from vipctl.linux.shim import messages

WEB = (*owners.RANGE, "--service", "web", "--method", "shim")


@pytest.fixture(autouse=True, scope="module")
def _loaded() -> Iterator[None]:
    with module.loaded():
        yield


def look(net: Lab, vipctl: Vipctl) -> tuple[object, ...]:
    with net.director:
        found = shim.snapshot()
        prefixes = shim.prefixes()
    return snapshot.kernel(net.director), found, prefixes, snapshot.directory(vipctl.state_dir)


@pytest.mark.parametrize(
    ("ours", "theirs"), [("shim", "shim"), ("shim", "fwmark"), ("route", "shim")]
)
def test_what_another_took_over_stays_as_it_is(
    net: Lab, vipctl: Vipctl, ours: str, theirs: str
) -> None:
    owners.assert_left(vipctl, ours, theirs, lambda: look(net, vipctl))


def test_what_says_nothing_is_restored(net: Lab, vipctl: Vipctl) -> None:
    """As an older vipctl commits, or another client of the module."""
    vipctl(*WEB)
    with net.director, Client() as link:
        before = link.dump("GET_SERVICE")[0].attributes
        link("BEGIN")
        link("SET_SERVICE", MARK=before["MARK"], FLAGS=before["FLAGS"], STAGED=True)
        link(
            "ADD",
            MARK=before["MARK"],
            PREFIXES4=messages.PREFIX[4].pack(b"\xcb\0\x71\0", 24),
            STAGED=True,
        )
        link("COMMIT")
    assert vipctl(*WEB)["restored"] is True
    assert vipctl("status")["kernel"] == "as stored"
    with net.director:
        assert shim.owner()


def test_a_module_that_has_no_place_for_it_serves_as_well(
    vipctl: Vipctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older one, that also refuses what it does not know."""
    told, do = messages.told, messages.do

    def older(link: Family, command: str, **named: object) -> None:
        assert "OWNER" not in named
        do(link, command, **named)

    monkeypatch.setattr(
        messages,
        "told",
        lambda found: {n: value for n, value in told(found).items() if n != "OWNER"},
    )
    monkeypatch.setattr(shim, "do", older)
    vipctl(*WEB)
    assert vipctl(*WEB)["restored"] is False
    assert vipctl("restore")["changed"] is False


def test_a_service_that_changes_its_method_stays_ours(vipctl: Vipctl) -> None:
    owners.assert_a_service_stays_ours(vipctl, ("fwmark", "shim"))
