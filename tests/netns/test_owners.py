"""Two state directories and one kernel: whose it is, it says itself."""

from dataclasses import replace

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns import snapshot

RANGE = ["add-range", "203.0.113.0/24"]
METHODS = ("fwmark", "route", "tproxy")
CHANGING = [
    [*RANGE, "--service", "web"],
    ["add-range", "192.0.2.0/24", "--service", "web"],
    ["remove-service", "web"],
    ["add-service", "other"],
    ["--check", "add-range", "192.0.2.0/24", "--service", "web"],
]


def options(method: str) -> list[str]:
    return ["--method", method, *(("--to-port", "8080") if method == "tproxy" else ())]


@pytest.fixture
def other(vipctl: Vipctl) -> Vipctl:
    """With a state directory of its own."""
    return replace(vipctl, state_dir=vipctl.state_dir.with_name("other"))


@pytest.mark.parametrize("theirs", METHODS)
@pytest.mark.parametrize("ours", METHODS)
def test_what_another_took_over_stays_as_it_is(
    net: Lab, vipctl: Vipctl, other: Vipctl, ours: str, theirs: str
) -> None:
    """Until it is taken back. Each says whom to ask."""
    vipctl(*RANGE, "--service", "web", *options(ours))
    assert other.error("add-range", "198.51.100.0/24", "--fwmark", "18")[0] == 3
    assert other("restore", "--force")["changed"] is True
    other("add-range", "198.51.100.0/24", "--service", "theirs", *options(theirs))
    before = snapshot.kernel(net.director), snapshot.directory(vipctl.state_dir)
    for words in CHANGING:
        code, error = vipctl.error(*words)
        assert (code, error["kind"]) == (3, "refused"), words
        assert "another state directory" in error["message"]
        assert "--state-dir" in error["hint"]
        assert "restore" in error["hint"]
    assert "another state directory" in vipctl("status")["kernel"]
    assert (snapshot.kernel(net.director), snapshot.directory(vipctl.state_dir)) == before
    assert other("add-range", "192.0.2.0/24", "--service", "theirs")["restored"] is False
    assert vipctl("restore")["changed"] is True
    assert vipctl("status")["kernel"] == "as stored"
    assert other.error("add-range", "192.0.2.1", "--service", "theirs")[0] == 3


def test_what_says_nothing_is_restored(net: Lab, vipctl: Vipctl) -> None:
    """As a table that somebody wrote from memory, or an older vipctl."""
    vipctl(*RANGE, "--fwmark", "17")
    net.director.run(["nft", "delete table inet vipctl; add table inet vipctl"])
    assert vipctl(*RANGE, "--fwmark", "17")["restored"] is True
    assert vipctl("status")["kernel"] == "as stored"


def test_what_others_say_is_not_ours(net: Lab, vipctl: Vipctl) -> None:
    vipctl(*RANGE, "--fwmark", "17")
    words = 'delete table inet vipctl; add table inet vipctl { comment "mine"; }'
    net.director.run(["nft", words])
    assert vipctl(*RANGE, "--fwmark", "17")["restored"] is True
    assert vipctl("status")["kernel"] == "as stored"


def test_a_service_that_changes_its_method_stays_ours(vipctl: Vipctl, other: Vipctl) -> None:
    """Also while it is with both."""
    vipctl(*RANGE, "--service", "web", *options("fwmark"))
    for method in ("route", "fwmark"):
        vipctl("set-service", "web", "--method", method)
        code, error = other.error("add-service", "theirs")
        assert code == 3, error
        assert vipctl(*RANGE, "--service", "web")["restored"] is False
