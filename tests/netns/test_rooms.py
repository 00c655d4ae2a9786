"""Maps that do not grow: prefixes that become too many for one move to another."""

from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns.addresses import RANGES, VIPS
from tests.netns.arrivals import accepted
from tests.netns.route import BeforeIpvs
from tests.netns.test_steps import Model, document
from tests.netns.test_switch import lossless
from vipctl.linux.nftables import transactions
from vipctl.linux.nftables.elements import LONGEST
from vipctl.services import change

ROOM = 4
ALL = transactions.LARGEST
MANY = 6  # what moves is less, or more
OTHERS = [f"198.51.{n}.0/24" for n in range(0, 40, 2)]
OTHERS6 = [f"2001:db8:2:{n:x}::/64" for n in range(0, 40, 2)]
METHODS = ("fwmark", "route", "tproxy")


@pytest.fixture
def counter(net: Lab) -> BeforeIpvs:
    return BeforeIpvs(net.director)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(change, "SMALLEST_ROOM", ROOM)
    monkeypatch.setattr(transactions, "LARGEST", MANY * LONGEST)
    return monkeypatch


def maps(net: Lab) -> set[str]:
    listed = net.director.run(["nft", "list", "maps", "inet"]).stdout.split()
    return {word for word in listed if word.startswith("v4_")}


def with_method(method: str) -> tuple[str, ...]:
    return ("--method", method, *(("--to-port", "8080") if method == "tproxy" else ()))


@pytest.mark.parametrize("method", METHODS)
def test_a_map_is_left_when_it_is_full_and_entered_again(
    net: Lab, vipctl: Vipctl, method: str
) -> None:
    vipctl("add-range", *OTHERS[:ROOM], "--service", "web", *with_method(method))
    assert maps(net) == {"v4_24_4"}
    vipctl("add-range", OTHERS[ROOM], "--service", "web")
    assert maps(net) == {"v4_24_16"}
    vipctl("add-range", *OTHERS, "--service", "web")
    assert maps(net) == {"v4_24_64"}
    assert vipctl("status")["kernel"] == "as stored"
    assert vipctl("restore")["changed"] is False
    vipctl("remove-range", *OTHERS[ROOM:])
    assert maps(net) == {"v4_24_4"}
    assert vipctl("restore")["changed"] is False
    vipctl("remove-service", "web")
    assert "vipctl" not in net.director.run(["nft", "list", "ruleset"]).stdout


@pytest.mark.parametrize("method", ["fwmark", "route"])
def test_all_of_a_full_map_can_be_replaced_at_once(
    net: Lab, vipctl: Vipctl, tmp_path: Path, method: str
) -> None:
    """What goes and what comes are in it together for a moment."""
    states: list[Model] = [{17: OTHERS[:16]}, {18: [f"192.0.{n}.0/24" for n in range(3, 35, 2)]}]
    for state in (*states, states[0]):
        vipctl("apply", document(tmp_path, state, method))
        assert maps(net) == {"v4_24_16"}
        assert vipctl("restore")["changed"] is False


@pytest.mark.parametrize("method", ["fwmark", "route"])
def test_no_packet_is_lost_on_the_way(
    net: Lab, vipctl: Vipctl, counter: BeforeIpvs, tmp_path: Path, method: str
) -> None:
    """Few prefixes move and many; alone, with another mark, with other prefixes, and back."""
    states: list[Model] = [
        {17: [*RANGES, *OTHERS[:3]]},
        {17: [*RANGES, *OTHERS[:4]]},
        {17: [*RANGES, *OTHERS, *OTHERS6]},
        {18: [*RANGES, *OTHERS[:5]], 17: OTHERS6[:2]},
        {17: [*RANGES, *OTHERS[10:]]},
        {18: ["203.0.112.0/23", "2001:db8::/47", *OTHERS]},
        {17: [*RANGES, *OTHERS[:3]]},
    ]
    vipctl("apply", document(tmp_path, states[0], method))
    with lossless(net, counter, VIPS, 17, 18):
        for state in states[1:]:
            vipctl("apply", document(tmp_path, state, method))
    samples = {"198.51.4.9": 17, "198.51.5.9": 0, "198.51.6.9": 0, VIPS[0]: 17}
    found = accepted(net, counter, samples)
    assert found == {address: mark for address, mark in samples.items() if mark}
    assert vipctl("restore")["changed"] is False


@pytest.mark.parametrize("method", ["fwmark", "route"])
@pytest.mark.parametrize(("smallest", "room"), [(3, 48), (32, 32)])
def test_no_packet_is_lost_when_maps_with_other_rooms_are_found(
    net: Lab,
    vipctl: Vipctl,
    counter: BeforeIpvs,
    small: pytest.MonkeyPatch,
    method: str,
    smallest: int,
    room: int,
) -> None:
    """As a command leaves them that was killed on the way; the kernel takes all at once."""
    small.setattr(transactions, "LARGEST", ALL)
    vipctl("add-range", *RANGES, *OTHERS, "--fwmark", "17", "--method", method)
    with lossless(net, counter, VIPS, 17):
        small.setattr(change, "SMALLEST_ROOM", smallest)
        assert vipctl("restore")["changed"] is True
    assert maps(net) == {f"v4_24_{room}"}
    assert vipctl("restore")["changed"] is False
