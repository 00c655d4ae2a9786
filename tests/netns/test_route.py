"""The `route` method: what IPVS gets to see, who answers pings, what operators are told."""

from ipaddress import ip_address

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import Outcome, tcp_get, udp_send
from tests.netns import snapshot
from tests.netns.addresses import OTHER_RANGES, OTHERS, OWN, RANGES, ROUTER, VIPS
from tests.netns.arrivals import (
    accepted,
    ends,
    prefixes_of_every_length,
    send_every_kind,
    settle,
)
from tests.netns.packets import need_frag, transmit
from tests.netns.pings import answering
from tests.netns.route import ROUTE, BeforeIpvs
from vipctl.linux import ipvs


def test_ranges_are_accepted_until_they_are_removed(net: Lab, vipctl: Vipctl) -> None:
    before = snapshot.kernel(net.director)
    counter = BeforeIpvs(net.director)
    ranges = [*RANGES, "198.51.100.7", "198.51.100.10-198.51.100.13", "2001:db8:2::5"]
    assert vipctl("add-range", *ranges, "--fwmark", "17", *ROUTE)["changed"] is True
    assert vipctl("add-range", *ranges, "--fwmark", "17", *ROUTE)["changed"] is False
    inside = ["203.0.113.0", "203.0.113.255", "198.51.100.7", "198.51.100.10", "198.51.100.13"]
    inside += ["2001:db8:1::", "2001:db8:1:0:ffff::", "2001:db8:2::5"]
    outside = ["203.0.112.255", "203.0.114.0", "198.51.100.6", "198.51.100.9", "198.51.100.14"]
    outside += ["2001:db8:0:ffff:ffff:ffff:ffff:ffff", "2001:db8:1:1::", "2001:db8:2::6"]
    assert accepted(net, counter, inside + outside) == dict.fromkeys(inside, 17)
    vipctl("remove-range", "203.0.113.128/25", "2001:db8:1::/65")
    assert accepted(net, counter, inside + outside) == dict.fromkeys(
        [a for a in inside if a not in ("203.0.113.255", "2001:db8:1::")], 17
    )
    vipctl("add-range", "203.0.113.128/25", "192.0.2.1", "--fwmark", "18", *ROUTE)
    found = accepted(net, counter, ["203.0.113.127", "203.0.113.128", "192.0.2.1"])
    assert found == {"203.0.113.127": 17, "203.0.113.128": 18, "192.0.2.1": 18}
    for name in vipctl("list-services")["services"]:
        assert vipctl("remove-service", name)["changed"] is True
    assert accepted(net, counter, [*inside, *outside]) == {}
    counter.close()
    assert snapshot.kernel(net.director) == before


def test_nothing_is_needed_that_others_set_up_first(vipctl: Vipctl) -> None:
    """Until somebody adds a rule, the kernel keeps table `local` in table `main` (IPv4)."""
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17", *ROUTE)
    assert vipctl("status")["kernel"] == "as stored"
    vipctl.host.ip("rule add pref 20000 fwmark 99 lookup 99")
    assert vipctl("status")["kernel"] == "as stored"
    assert vipctl("restore")["changed"] is False


def test_addresses_of_the_director_may_be_inside(net: Lab, vipctl: Vipctl) -> None:
    """And its anycast address, where the range begins: both are routes of the kernel's own."""
    net.director.ip("addr add 198.51.100.0/25 dev eth0", "addr add 2001:db8:7::1/64 dev eth0 nodad")
    vipctl(
        "add-range",
        "198.51.100.0/24",
        "2001:db8:7::/64",
        "--fwmark",
        "17",
        "--force",
        "--arp",
        *ROUTE,
    )
    assert vipctl("status")["kernel"] == "as stored"
    net.director.ip("route del local 198.51.100.0/24 dev lo table local proto 118")
    assert vipctl("status")["kernel"] == "differs"


def test_prefixes_of_every_length_end_where_they_end(
    net: Lab, vipctl: Vipctl, before_ipvs: BeforeIpvs
) -> None:
    prefixes = prefixes_of_every_length()
    vipctl("add-range", *map(str, prefixes), "--fwmark", "17", "--leftover", "drop", *ROUTE)
    inside, outside = ends(prefixes)
    assert accepted(net, before_ipvs, inside | outside) == dict.fromkeys(inside, 17)


@pytest.mark.parametrize("at", [0, 1], ids=["IPv4", "IPv6"])
def test_every_kind_of_packet_is_accepted(
    net: Lab, vipctl: Vipctl, before_ipvs: BeforeIpvs, at: int
) -> None:
    vipctl("add-range", RANGES[at], "--fwmark", "17", *ROUTE)
    assert send_every_kind(net, before_ipvs, VIPS[at]).outcome is Outcome.REFUSED


def test_ports_and_planes(net: Lab, vipctl: Vipctl, before_ipvs: BeforeIpvs) -> None:
    """Two services share VIPs, a third has all ports of others; a fourth has another method."""
    vipctl("add-range", *RANGES, "--fwmark", "17", "--port", "tcp/80", *ROUTE)
    vipctl("add-range", *RANGES, "--fwmark", "18", "--port", "udp/53", *ROUTE)
    vipctl("add-range", *OTHER_RANGES, "--fwmark", "19", *ROUTE)
    vipctl("add-range", "192.0.2.0/24", "--fwmark", "20", "--method", "fwmark")
    for port, mark in ((53, 18), (80, None), (9, None)):
        before_ipvs.reset()
        udp_send(net.client, [*VIPS, *OTHERS, "192.0.2.7"], port)
        settle(net.client, before_ipvs)
        seen = {dst: m for m, dst in before_ipvs.counts() if m}
        others = dict.fromkeys(OTHERS, 19) | {"192.0.2.7": 20}
        assert seen == others | (dict.fromkeys(VIPS, mark) if mark else {}), port
    before_ipvs.reset()
    for vip in VIPS:
        tcp_get(net.client, vip, 80)
        tcp_get(net.client, vip, 53)
    assert {dst: (m, n) for (m, dst), n in before_ipvs.counts().items() if m} == dict.fromkeys(
        VIPS, (17, 1)
    )
    before_ipvs.reset()
    transmit(net.client, net.director, *(need_frag(ROUTER[ip_address(v).version], v) for v in VIPS))
    settle(net.client, before_ipvs)
    assert {dst for m, dst in before_ipvs.counts() if m} == {*VIPS}, "ICMP has no port"


def test_what_one_service_leaves_stays_with_those_that_share_it(
    net: Lab, vipctl: Vipctl, before_ipvs: BeforeIpvs
) -> None:
    """Its outermost ranges, and one within."""
    ranges = ["192.0.2.1", "198.51.100.7", "203.0.113.0/24", "2001:db8:1::/64", "2001:db8:2::/64"]
    vips = ["192.0.2.1", "198.51.100.7", "203.0.113.7", "2001:db8:1::7", "2001:db8:2::7"]
    vipctl("add-range", *ranges, "--fwmark", "17", "--port", "tcp/80", *ROUTE)
    vipctl("add-range", *ranges, "--fwmark", "18", "--port", "udp/9", *ROUTE)
    vipctl("remove-range", "198.51.100.7", "--service", "fwmark-17")
    assert accepted(net, before_ipvs, vips) == dict.fromkeys(vips, 18)
    vipctl("remove-service", "fwmark-17")
    assert accepted(net, before_ipvs, vips) == dict.fromkeys(vips, 18)
    assert vipctl("restore")["changed"] is False


def test_pings_are_answered_if_told_to(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", *ROUTE)
    vipctl("add-range", *OTHER_RANGES, "--fwmark", "18", "--ping", "--port", "tcp/80", *ROUTE)
    assert answering(net, [*VIPS, *OTHERS, *OWN]) == {*OTHERS, *OWN}
    vipctl("set-service", "fwmark-17", "--ping", "--leftover", "drop")
    vipctl("set-service", "fwmark-18", "--no-ping")
    assert answering(net, [*VIPS, *OTHERS, *OWN]) == {*VIPS, *OWN}
    assert "type nat" not in net.director.run(["nft", "list", "ruleset"]).stdout


def test_status_and_lists_name_the_method(vipctl: Vipctl) -> None:
    done = vipctl("add-service", "web", *ROUTE)
    assert done["services"]["web"]["method"] == "route"
    assert vipctl("list-services")["services"]["web"]["arp"] is False
    assert vipctl("status")["services"]["web"]["method"] == "route"
    assert vipctl("export")["services"]["web"]["method"] == "route"


def test_answers_through_the_director_are_warned_of(
    net: Lab, vipctl: Vipctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IPv4 only, not with nat, nor where the director lets such answers pass."""
    monkeypatch.setattr(ipvs, "read", lambda _: {})
    real = ["--check", "add-service", "web", *ROUTE, "--real"]
    for words, warned in (
        (["10.0.1.11", "--forward", "dr"], True),
        (["10.0.1.11", "--forward", "tun"], True),
        (["fd00:1::11", "--forward", "dr"], False),
        (["10.0.1.11", "--forward", "nat"], False),
        (["10.0.1.11", "--forward", "dr", "--method", "fwmark"], False),
    ):
        said = " ".join(vipctl(*real, *words)["warnings"])
        assert ("answers of real servers" in said) is warned, words
    net.director.sysctl("net.ipv4.conf.all.accept_local", 1)
    said = " ".join(vipctl(*real, "10.0.1.11", "--forward", "dr")["warnings"])
    assert "answers of real servers" not in said
