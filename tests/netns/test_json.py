"""Every command with --json prints an object of the documented form; those of IPVS: tests/vm."""

from pathlib import Path

import click
import pytest
from pydantic import ValidationError

from tests.harness.command import Vipctl, changes
from tests.harness.contract import Contract
from tests.harness.lab import Lab
from tests.netns.test_watch import watching
from vipctl.cli.base import group
from vipctl.cli.contract import commands

DOCUMENT = "services: {fwmark-17: {ranges: [203.0.113.0/24]}, web: {}}"
RULES = "-A -f 17 -s rr\n-a -f 17 -r 10.0.1.11:0 -m -w 1\n"
EVERY = """
status
list-ranges
add-range 203.0.113.0/24 2001:db8::/64 --fwmark 17
--check --diff add-range 198.51.100.0/24 --fwmark 17
--diff remove-range 203.0.113.0/25
add-service web --port tcp/80
add-range 192.0.2.0/24 --service web
set-service web --check tcp:80 --ping
add-port web udp/53
remove-port web udp/53
rename-service web shop
move-range 203.0.113.128/25 --to shop
list-ranges
list-services
list-checks
lookup 192.0.2.7 192.0.3.7
doctor
explain 192.0.2.7
explain 192.0.3.7 udp/53
deactivate --service shop
deactivate
activate
status
status shop
add-real shop 10.0.1.11
set-real shop 10.0.1.11,weight=2
drain-real shop 10.0.1.11
undrain-real shop 10.0.1.11
replace-real shop 10.0.1.11 10.0.1.12
remove-real shop 10.0.1.12
set-director --udp-timeout 30
set-sync --interface eth0
remove-sync
announce --print bird
--check --diff configure bird
metrics
export
remove-service shop
restore
restore
"""
NEEDING_IPVS = {"add-real", "set-real", "drain-real", "undrain-real", "replace-real"}
NEEDING_IPVS |= {"set-director", "set-sync"}
ELSEWHERE = {"log"}  # in tests/netns/test_audit.py, which has a journal


def test_every_command_keeps_to_it(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    contract = Contract(vipctl)
    run_every(contract, tmp_path)
    known = set(group.list_commands(click.Context(group)))
    assert contract.held == known - NEEDING_IPVS - ELSEWHERE - set(commands.SILENT)


def run_every(contract: Contract, tmp_path: Path) -> None:
    """Each command at least once."""
    for line in EVERY.split("\n")[1:-1]:
        contract(line)
    for name, text in (("document", DOCUMENT), ("rules", RULES)):
        (tmp_path / name).write_text(text)
    contract(f"import ipvsadm {tmp_path / 'rules'}")
    contract(f"apply {tmp_path / 'document'}")
    contract(f"diff {tmp_path / 'document'}")


def test_status_keeps_to_it_beside_the_daemon(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")
    with watching(vipctl, tmp_path / "log", command=("--alive", "vipctl0")) as daemon:
        net.director.run(["nft", "flush", "ruleset"])
        daemon.wait_for("put back")
        assert Contract(vipctl)("status")["watch"]["last"]["what"].startswith("put back")


def test_so_does_watch_that_cannot_begin(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    with watching(vipctl, tmp_path / "log"):
        assert Contract(vipctl)("watch")["error"]["kind"] == "refused"


@pytest.mark.parametrize("range_", ["2001:db8::/64", "2400::/12"])
def test_large_numbers_are_there_as_text(net: Lab, vipctl: Vipctl, range_: str) -> None:
    contract, size = Contract(vipctl), 2 ** (128 - int(range_.partition("/")[2]))
    sizes = [contract(f"add-range {range_} --fwmark 17")["added"]]
    sizes.append(contract("list-services")["services"]["fwmark-17"])
    sizes.append(contract("status")["services"]["fwmark-17"])
    assert [(one["addresses"], one["addresses_exact"]) for one in sizes] == [(size, str(size))] * 3


def test_smaller_ones_are_not(net: Lab, vipctl: Vipctl) -> None:
    done = vipctl("add-range", "2001:db8::/76", "203.0.113.0/24", "--fwmark", "17")
    assert "addresses_exact" not in done["added"]


def test_each_change_tells_whom_it_touches(net: Lab, vipctl: Vipctl) -> None:
    def told(*words: str) -> list[tuple[str, list[str]]]:
        return [(one["what"], one["services"]) for one in vipctl(*words)["changes"]]

    for mark, range_ in (("17", "203.0.113.0/24"), ("18", "192.0.2.0/24")):
        (_, by), (_, created) = told("add-range", range_, "--fwmark", mark)
        assert by == created == [f"fwmark-{mark}"]
    moved = told("move-range", "203.0.113.0/25", "--to", "fwmark-18")
    assert [names for _, names in moved] == [["fwmark-17"], ["fwmark-18"]]
    assert told("deactivate", "--service", "fwmark-17")[0][1] == ["fwmark-17"]
    assert told("deactivate") == [("this director is passive", [])]
    net.director.run(["nft", "flush", "ruleset"])
    assert told("restore") == [("kernel restored to the stored state", [])]
    ended = told("remove-service", "fwmark-17", "fwmark-18")
    assert ("service fwmark-18 ended", ["fwmark-18"]) in ended


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": 2},
        {"changed": "false"},
        {"ranges": [{"service": "web"}]},
        {"more": 1},
        {"pending": None},
    ],
    ids=str,
)
def test_other_objects_do_not(wrong: dict[str, object]) -> None:
    right = {"format": 1, "changed": False, "ranges": [], "pending": False}
    commands.of("list-ranges").model_validate(right)
    with pytest.raises(ValidationError):
        commands.of("list-ranges").model_validate(right | wrong)


def test_an_empty_list_is_called_as_people_call_it(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-service", "web")
    told = changes(vipctl("set-service", "web", "--check", "tcp:80", "--port", "tcp/80"))
    assert sorted(told) == ["web: checks none → tcp:80", "web: ports all → tcp/80"]
