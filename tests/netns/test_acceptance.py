"""Packets for a range reach LOCAL_IN with its mark: all of the range, nothing else, every kind."""

import random
from ipaddress import ip_network

import pytest

from tests.harness.command import Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.harness.traffic import Outcome
from tests.netns import snapshot
from tests.netns.arrivals import accepted, ends, prefixes_of_every_length, send_every_kind


def test_a_range_is_accepted_until_it_is_removed(net: Lab, vipctl: Vipctl) -> None:
    before = snapshot.kernel(net.director)
    assert vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")["changed"] is True
    assert vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")["changed"] is False
    with LocalInCounter(net.director) as counter:
        assert accepted(net, counter, ["203.0.113.77"]) == {"203.0.113.77": 17}
        assert vipctl("remove-range", "203.0.113.0/24")["changed"] is True
        assert accepted(net, counter, ["203.0.113.77"]) == {}
    assert vipctl("remove-range", "203.0.113.0/24")["changed"] is False
    assert snapshot.kernel(net.director) == before


@pytest.mark.parametrize(
    ("prefix", "vip"), [("203.0.113.0/24", "203.0.113.77"), ("2001:db8:1::/64", "2001:db8:1::77")]
)
def test_every_kind_of_packet_is_accepted(net: Lab, vipctl: Vipctl, prefix: str, vip: str) -> None:
    vipctl("add-range", prefix, "--fwmark", "17")
    with LocalInCounter(net.director) as counter:
        assert send_every_kind(net, counter, vip).outcome is Outcome.REFUSED


def test_prefixes_of_every_length_end_where_they_end(net: Lab, vipctl: Vipctl) -> None:
    prefixes = prefixes_of_every_length()
    vipctl("add-range", *map(str, prefixes), "--fwmark", "17", "--leftover", "drop")
    inside, outside = ends(prefixes)
    with LocalInCounter(net.director) as counter:
        assert accepted(net, counter, inside | outside) == dict.fromkeys(inside, 17)
    listed = vipctl("list-ranges")["ranges"]
    assert [r["range"] for r in listed] == list(map(str, prefixes))


def test_merges_and_splits_accept_what_a_set_of_addresses_would(net: Lab, vipctl: Vipctl) -> None:
    """Random additions and removals around the same few addresses, against a plain set."""
    dice = random.Random(4)
    universe = [*ip_network("198.51.100.0/26"), *ip_network("2001:db8:2::/122")]
    marks: dict[str, int] = {}
    with LocalInCounter(net.director) as counter:
        for _ in range(16):
            first, last = sorted(dice.choices(range(64), k=2))
            half = dice.choice((0, 64))
            span = [str(address) for address in universe[half + first : half + last + 1]]
            text = f"{span[0]}-{span[-1]}"
            vipctl("remove-range", text)
            marks = {address: mark for address, mark in marks.items() if address not in span}
            if dice.random() < 0.7:
                mark = dice.choice((17, 18))
                vipctl("add-range", text, "--fwmark", str(mark), "--leftover", "drop")
                marks |= dict.fromkeys(span, mark)
            assert accepted(net, counter, universe) == marks
    assert vipctl("restore")["changed"] is False


def test_outside_of_the_range_nothing_is_accepted(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", "203.0.113.0/24", "2001:db8:1::/64", "--fwmark", "17")
    outside = ["203.0.112.255", "203.0.114.0", "2001:db8:0:ffff:ffff:ffff:ffff:ffff"]
    with LocalInCounter(net.director) as counter:
        assert accepted(net, counter, [*outside, "2001:db8:1:1::"]) == {}


def test_last_range_of_one_version_takes_its_rules_along(net: Lab, vipctl: Vipctl) -> None:
    before = snapshot.kernel(net.director)
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")
    only4 = snapshot.kernel(net.director)
    assert only4["ip -6 rule"] == before["ip -6 rule"]
    vipctl("add-range", "2001:db8:1::/64", "--fwmark", "18")
    assert snapshot.kernel(net.director)["ip -6 rule"] != before["ip -6 rule"]
    vipctl("remove-range", "2001:db8:1::/64")
    after = snapshot.kernel(net.director)
    assert after == only4
