"""Large changes, which go in steps and as packed messages; here a few prefixes are many.

Of nftables only where the kernel takes no large transaction: as of root in a user namespace.
"""

import json
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns.addresses import RANGES, VIPS
from tests.netns.arrivals import accepted
from tests.netns.route import BeforeIpvs
from tests.netns.test_switch import lossless
from vipctl.addresses import spans
from vipctl.linux.iptables import ipset
from vipctl.linux.nftables import transactions
from vipctl.linux.nftables.elements import LONGEST
from vipctl.services import change

METHODS = ("fwmark", "route", "fwmark-iptables")
MANY = 2
ALL = transactions.LARGEST
ROOM = 4  # prefixes: more go to another map
SCATTERED = [f"198.51.100.{n}" for n in range(0, 40, 2)]
SCATTERED6 = [f"2001:db8:2:{n:x}::/64" for n in range(0, 40, 2)]
MOVED = [*SCATTERED[::2], *SCATTERED6[::2]]
Model = dict[int, list[str]]  # ranges by mark


@pytest.fixture
def counter(net: Lab) -> BeforeIpvs:
    return BeforeIpvs(net.director)


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(ipset, "MOST_IN_WORDS", MANY)
    monkeypatch.setattr(spans, "NUMPY_FROM", MANY)
    monkeypatch.setattr(transactions, "LARGEST", MANY * LONGEST)
    monkeypatch.setattr(change, "SMALLEST_ROOM", ROOM)
    return monkeypatch


def samples(model: Model) -> dict[str, int]:
    """The ends of all ranges, and what is next to them; 0 for what nobody has."""
    networks = [(ip_network(text), mark) for mark, ranges in model.items() for text in ranges]
    ends = {end for network, _ in networks for end in (network[0], network[-1])}
    ends |= {end + step for end in ends for step in (-1, 1)}
    marks = {e: [mark for network, mark in networks if e in network] for e in ends}
    return {str(end): found[0] if found else 0 for end, found in marks.items()}


def check(net: Lab, vipctl: Vipctl, model: Model) -> None:
    """The kernel is as stored, and accepts what it should."""
    assert vipctl("status")["kernel"] == "as stored"
    wanted = samples(model)
    counter = BeforeIpvs(net.director)
    found = accepted(net, counter, wanted)
    assert found == {address: mark for address, mark in wanted.items() if mark}
    counter.close()
    assert vipctl("restore")["changed"] is False


def document(path: Path, model: Model, method: str) -> str:
    services: dict[str, Any] = {
        f"fwmark-{mark}": {"method": method, "ranges": list(ranges)}
        for mark, ranges in model.items()
    }
    file = path / "next.json"
    file.write_text(json.dumps({"services": services}))
    return str(file)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("method", METHODS)
def test_every_change(net: Lab, vipctl: Vipctl, tmp_path: Path, method: str) -> None:
    with_method = ("--method", method)
    vipctl("add-range", *RANGES, *SCATTERED, "--fwmark", "17", *with_method)
    check(net, vipctl, {17: [*RANGES, *SCATTERED]})

    vipctl("add-range", *SCATTERED6, "192.0.2.0/30", "--fwmark", "18", *with_method)
    check(net, vipctl, {17: [*RANGES, *SCATTERED], 18: [*SCATTERED6, "192.0.2.0/30"]})

    wider = [f"198.51.100.{n}" for n in range(1, 20, 2)]
    vipctl("add-range", *wider, "203.0.112.0/24", "2001:db8::/64", "--fwmark", "17")
    first = ["203.0.112.0/23", "2001:db8::/64", "2001:db8:1::/64", *SCATTERED[10:]]
    first += ["198.51.100.0/28", "198.51.100.16/30"]
    check(net, vipctl, {17: first, 18: [*SCATTERED6, "192.0.2.0/30"]})

    vipctl("remove-range", *wider, "203.0.112.0/25", "2001:db8::/64", "192.0.2.1")
    second = [*SCATTERED6, "192.0.2.0", "192.0.2.2/31"]
    check(net, vipctl, {17: ["203.0.112.128/25", *RANGES, *SCATTERED], 18: second})

    model = {17: [*RANGES, *SCATTERED[1::2]], 19: [*MOVED, "192.0.2.128/26"]}
    vipctl("apply", document(tmp_path, model, method))
    check(net, vipctl, model)

    vipctl("remove-range", *SCATTERED, *SCATTERED6)
    check(net, vipctl, {17: list(RANGES), 19: ["192.0.2.128/26"]})
    vipctl("remove-service", "fwmark-17")
    vipctl("remove-service", "fwmark-19")
    assert vipctl("status")["kernel"] == "as stored"
    assert "vipctl" not in net.director.run(["nft", "list", "ruleset"]).stdout


LOSSES = {
    "fwmark": ["nft flush ruleset"],
    "route": ["nft flush ruleset", "ip route flush table local proto 118"],
    "fwmark-iptables": ["ipset flush vipctl4", "iptables-legacy -w -t mangle -F"],
}


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("method", METHODS)
def test_what_was_lost_is_restored(net: Lab, vipctl: Vipctl, method: str) -> None:
    model = {17: [*RANGES, *SCATTERED], 18: list(SCATTERED6)}
    for mark, ranges in model.items():
        vipctl("add-range", *ranges, "--fwmark", str(mark), "--method", method)
    for command in LOSSES[method]:
        net.director.run(command.split())
        assert vipctl("restore")["changed"] is True
        check(net, vipctl, model)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_lost_while_most_is_replaced(
    net: Lab, vipctl: Vipctl, counter: BeforeIpvs, tmp_path: Path, method: str
) -> None:
    """What stays has other prefixes, then another mark, then both."""
    longer = [f"203.0.113.{n}/26" for n in (64, 128)] + ["2001:db8:1::/66"]
    states: list[Model] = [
        {17: [*RANGES, *SCATTERED]},
        {17: [*longer, *SCATTERED6]},
        {18: [*longer, *SCATTERED6]},
        {17: [*RANGES, *MOVED], 18: SCATTERED[1::2]},
        {17: [*RANGES, *SCATTERED]},
    ]
    vipctl("apply", document(tmp_path, states[0], method))
    with lossless(net, counter, VIPS, 17, 18):
        for model in states[1:]:
            vipctl("apply", document(tmp_path, model, method))
    check(net, vipctl, states[-1])


@pytest.mark.parametrize("threshold", [0, 3, 4, 100])
@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_lost_by_a_restoration(
    net: Lab,
    vipctl: Vipctl,
    counter: BeforeIpvs,
    many: pytest.MonkeyPatch,
    method: str,
    threshold: int,
) -> None:
    """However many are many: of one table, or of all that go together."""
    many.setattr(ipset, "MOST_IN_WORDS", threshold)
    many.setattr(transactions, "LARGEST", ALL)
    vips = ["203.0.113.77", "198.51.100.77"]
    vipctl("add-range", "203.0.113.0/24", "198.51.100.0/25", "--fwmark", "17", "--method", method)
    with lossless(net, counter, vips, 17):
        for number in range(5):
            net.director.run(_foreign(method, number))
            assert vipctl("restore")["changed"] is True


def _foreign(method: str, number: int) -> list[str]:
    """A change of ours by somebody else that no packet of a VIP meets."""
    if method == "fwmark-iptables":
        return ["iptables-legacy", "-w", "-t", "mangle", "-A", "VIPCTL", "-s", f"192.0.2.{number}"]
    table = {"fwmark": "vipctl", "route": "vipctl_route"}[method]
    return ["nft", "add", "chain", "inet", table, f"foreign{number}"]
