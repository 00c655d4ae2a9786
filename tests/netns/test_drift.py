"""Whatever somebody else deletes of vipctl's, the next changing command brings back."""

from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns import snapshot
from tests.netns.damage import fwmark
from tests.netns.damage.cases import CASES
from tests.netns.drift import Drift


def each(kind: str) -> pytest.MarkDecorator:
    """All of a kind that others do, of every method."""
    found = [
        pytest.param(case, words, id=f"{name}-{words}")
        for name, case in CASES.items()
        for words in getattr(case, kind)
    ]
    return pytest.mark.parametrize(("drift", "words"), found, indirect=["drift"], scope="module")


@each("damage")
def test_the_next_command_restores(drift: Drift, words: str) -> None:
    drift.assert_next_command_restores(words)


@each("unseen")
def test_restore_compares_every_prefix(drift: Drift, words: str) -> None:
    drift.assert_only_restore_sees(words)


@each("commonest")
def test_restore_restores(drift: Drift, words: str) -> None:
    drift.assert_restore_restores(words)


@each("commonest")
def test_check_reports_and_leaves_it(drift: Drift, words: str) -> None:
    for command in (*drift.idle_commands(), ["restore"]):
        drift.assert_check_only_reports(words, *command)


@pytest.mark.parametrize("words", fwmark.REMADE)
def test_whatever_is_there_can_be_restored_and_removed(
    net: Lab, vipctl: Vipctl, tmp_path: Path, words: str
) -> None:
    """However many prefixes there are; by the command that removes the last service, too."""
    file = tmp_path / "many"
    file.write_text("".join(f"198.18.{n // 128}.{2 * (n % 128)}\n" for n in range(1200)))
    ranges = ["203.0.113.0/24", "2001:db8:1::/64", f"@{file}"]
    vipctl("add-range", *ranges, "--fwmark", "17", "--ping")
    before = snapshot.unordered(net.director)
    net.director.run(["sh", "-ec", words])
    assert vipctl("restore")["changed"] is True
    assert snapshot.unordered(net.director) == before
    net.director.run(["sh", "-ec", words])
    assert vipctl("remove-service", "fwmark-17")["changed"] is True
    assert "vipctl" not in net.director.run(["nft", "list", "ruleset"]).stdout


DELETED = {
    "fwmark": "nft delete element inet vipctl v4_32_1024 { 203.0.113.0 }",
    "route": "nft delete element inet vipctl_route v4_32_1024 { 203.0.113.0 }",
    "tproxy": "nft delete element inet vipctl_tproxy v4_32_1024 { 203.0.113.0 }",
    "fwmark-iptables": "ipset del vipctl4 203.0.113.0",
}


@pytest.mark.parametrize("method", DELETED)
@pytest.mark.parametrize("words", [("remove-range", "203.0.113.0"), ("add-range", "203.0.113.1")])
def test_what_is_to_go_may_be_gone_already(
    net: Lab, vipctl: Vipctl, method: str, words: tuple[str, str]
) -> None:
    """By itself, or as it becomes a part of something larger."""
    ranges = ["203.0.113.0", "203.0.113.9", "2001:db8:1::"]
    owner = ["--service=web", "--to-port=80"] if method == "tproxy" else ["--fwmark=17"]
    vipctl("add-range", *ranges, f"--method={method}", *owner)
    net.director.run(["sh", "-ec", DELETED[method]])
    done = vipctl(*words, "--service", *vipctl("list-services")["services"])
    assert (done["changed"], done["restored"]) == (True, True)
    assert vipctl("restore")["changed"] is False
