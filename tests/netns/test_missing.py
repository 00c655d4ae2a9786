"""What is missing is named, with how to get it: exit 5, and nothing is changed."""

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns import snapshot
from tests.netns.processes import run

RANGE = ["add-range", "203.0.113.0/24"]
# The clone may be in somebody's home directory, where only this lets others read it.
READING = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *READING)
POWERLESS = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")


@pytest.mark.parametrize(
    "words",
    [
        [*RANGE, "--service", "web", "--real", "10.0.1.11"],
        ["add-service", "web", "--real", "10.0.1.11"],
        ["add-real", "old", "fd00:1::11"],
    ],
    ids=lambda words: words[0],
)
def test_ipvs(net: Lab, vipctl: Vipctl, words: list[str]) -> None:
    vipctl("add-service", "old")
    before = snapshot.kernel(net.director), snapshot.directory(vipctl.state_dir)
    for check in ([], ["--check", "--diff"]):
        code, error = vipctl.error(*check, *words)
        assert (code, error["kind"]) == (5, "missing")
        assert error["hint"].startswith("modprobe ip_vs, or boot a kernel that has IPVS")
        assert "IPVS" in error["message"]
    assert (snapshot.kernel(net.director), snapshot.directory(vipctl.state_dir)) == before
    assert vipctl(*RANGE, "--service", "old")["changed"] is True, "without real servers it works"


@pytest.mark.parametrize("user", [NOBODY, POWERLESS], ids=["nobody", "root without CAP_NET_ADMIN"])
@pytest.mark.parametrize("state", ["none", "some"])
def test_privilege(net: Lab, vipctl: Vipctl, user: tuple[str, ...], state: str) -> None:
    if state == "some":
        vipctl(*RANGE, "--fwmark", "17")
    before = snapshot.kernel(net.director), vipctl("export"), vipctl("list-services")
    code, printed = run(vipctl, "add-range", "192.0.2.0/24", "--fwmark", "17", before=user)
    assert (code, printed["error"]["kind"]) == (5, "missing"), printed
    assert "sudo" in printed["error"]["hint"]
    assert (snapshot.kernel(net.director), vipctl("export"), vipctl("list-services")) == before


def test_another_namespace_has_another_state(net: Lab, vipctl: Vipctl) -> None:
    vipctl(*RANGE, "--fwmark", "17")
    moved = Vipctl(net.client, vipctl.state_dir)
    before = snapshot.kernel(net.client), snapshot.directory(vipctl.state_dir)
    for words in ([*RANGE, "--fwmark", "17"], ["remove-range", "203.0.113.0/24"], ["status"]):
        code, error = moved.error(*words)
        assert (code, error["kind"]) == (3, "refused")
        assert "--state-dir" in error["hint"]
        assert "restore" in error["hint"]
    assert (snapshot.kernel(net.client), snapshot.directory(vipctl.state_dir)) == before


def test_restore_adopts_the_state_of_another_namespace(net: Lab, vipctl: Vipctl) -> None:
    vipctl(*RANGE, "--fwmark", "17")
    moved = Vipctl(net.client, vipctl.state_dir)
    assert moved("--check", "restore")["changed"] is True
    assert vipctl("status")["kernel"] == "as stored"
    assert moved("restore")["changed"] is True
    assert moved("status")["kernel"] == "as stored"
    assert "203.0.113.0" in snapshot.kernel(net.client)["nft -s list ruleset"]
    assert moved(*RANGE, "--fwmark", "17")["changed"] is False
    assert vipctl.error("status")[0] == 3
