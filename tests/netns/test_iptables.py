"""`fwmark-iptables`: the scenarios of the `fwmark` method, and what is different."""

import sys
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.harness.traffic import Outcome, udp_ask, udp_send
from tests.harness.waiting import wait_until
from tests.netns import foreign, processes, snapshot
from tests.netns.addresses import OWN, RANGES, VIPS
from tests.netns.arrivals import send_every_kind
from tests.netns.iptables import ByIptables, ours, saved
from tests.netns.test_acceptance import (
    test_a_range_is_accepted_until_it_is_removed,
    test_last_range_of_one_version_takes_its_rules_along,
    test_merges_and_splits_accept_what_a_set_of_addresses_would,
    test_outside_of_the_range_nothing_is_accepted,
    test_prefixes_of_every_length_end_where_they_end,
)
from tests.netns.test_ping import (
    test_answering_can_be_switched,
    test_ports_do_not_matter,
    test_shared_vips_answer,
    test_vips_answer_if_told_to,
)
from tests.netns.test_source_validation import (
    test_forged_sources_are_not,
    test_only_strict_filtering_minds_the_interface,
    test_sources_without_a_route_are_refused_by_any_filtering,
    test_vips_are_accepted,
)

__all__ = [
    "test_a_range_is_accepted_until_it_is_removed",
    "test_answering_can_be_switched",
    "test_forged_sources_are_not",
    "test_last_range_of_one_version_takes_its_rules_along",
    "test_merges_and_splits_accept_what_a_set_of_addresses_would",
    "test_only_strict_filtering_minds_the_interface",
    "test_outside_of_the_range_nothing_is_accepted",
    "test_ports_do_not_matter",
    "test_prefixes_of_every_length_end_where_they_end",
    "test_shared_vips_answer",
    "test_sources_without_a_route_are_refused_by_any_filtering",
    "test_vips_answer_if_told_to",
    "test_vips_are_accepted",
]


@pytest.fixture
def vipctl(net: Lab, tmp_path: Path) -> Vipctl:
    """vipctl on the director."""
    return ByIptables(net.director, tmp_path / "state")


def test_the_last_service_takes_everything_along(net: Lab, vipctl: Vipctl) -> None:
    before = snapshot.kernel(net.director)
    vipctl("add-range", *RANGES, "--fwmark", "17", "--ping", "--port", "tcp/80")
    vipctl("add-range", *RANGES, "--fwmark", "18", "--ping", "--port", "udp/53")
    vipctl("add-service", "web")
    vipctl("add-range", "192.0.2.0/29", "--service", "web")
    assert len(ours(net.director)) > 50
    for name in vipctl("list-services")["services"]:
        vipctl("remove-service", name)
    assert ours(net.director) == []
    assert snapshot.kernel(net.director) == before
    assert vipctl("status")["kernel"] == "as stored"


def test_one_ip_version_has_nothing_of_the_other(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", RANGES[0], "--fwmark", "17", "--ping")
    for host, version in ((net.director, "6"), (net.director, "4")):
        tables = host.run([f"ip{version.replace('4', '')}tables-legacy-save"]).stdout
        assert ("VIPCTL" in tables) == (version == "4")
    assert net.director.run(["ipset", "list", "-n"]).stdout.split() == ["vipctl4"]
    vipctl("add-range", RANGES[1], "--fwmark", "17")
    both = ours(net.director)
    vipctl("remove-range", RANGES[1])
    assert len(ours(net.director)) < len(both)
    assert net.director.run(["ipset", "list", "-n"]).stdout.split() == ["vipctl4"]


def test_only_tables_in_use_are_registered(net: Lab, vipctl: Vipctl) -> None:
    """python-iptables by itself would register all, and so the nat table."""
    vipctl("add-range", RANGES[0], "--fwmark", "17")
    vipctl("status")
    with net.director:
        names = Path("/proc/thread-self/net/ip_tables_names").read_text().split()
        names6 = Path("/proc/thread-self/net/ip6_tables_names").read_text().split()
    assert (sorted(names), names6) == (["filter", "mangle"], [])


@pytest.mark.parametrize("at", [0, 1], ids=["IPv4", "IPv6"])
def test_every_kind_of_packet_is_accepted(net: Lab, vipctl: Vipctl, at: int) -> None:
    vipctl("add-range", RANGES[at], "--fwmark", "17")
    with LocalInCounter(net.director) as counter:
        send_every_kind(net, counter, VIPS[at])  # nobody answers


def test_whose_ttl_ends_here_is_told_so_by_the_director(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", RANGES[0], "--fwmark", "17")
    net.director.ip("route add default via 10.0.0.2")
    expired = "ip saddr 10.0.0.1 icmp type time-exceeded counter"
    foreign.hook(net.client, "expired", "prerouting priority 0", expired)
    with LocalInCounter(net.director) as counter:
        assert udp_ask(net.client, VIPS[0], 9, ttl=1).outcome is Outcome.UNREACHABLE
        assert foreign.packets(net.client, "expired") == 1
        assert counter.count(17, VIPS[0]) == 0
        udp_ask(net.client, VIPS[0], 9, ttl=2, timeout=0.1)
        assert counter.count(17, VIPS[0]) == 1


def test_marks_of_others_alone_are_not_believed(net: Lab, vipctl: Vipctl) -> None:
    """keepalived marks addresses of the director."""
    vipctl("add-range", *RANGES, "--fwmark", "17", "--port", "tcp/80")
    own = "ip daddr 10.0.0.1", "ip6 daddr fd00::1"
    marking = [f"{match} meta mark set 17" for match in own]
    foreign.hook(net.director, "others", "prerouting priority -100", *marking)
    with LocalInCounter(net.director) as counter:
        udp_send(net.client, list(OWN), 9)
        wait_until(lambda: all(counter.count(17, a) for a in OWN), "they came through")


def test_a_mark_that_others_set_first_is_overridden(net: Lab, vipctl: Vipctl) -> None:
    rule = "-t mangle -A PREROUTING -j MARK --set-mark 99"
    net.director.run(["iptables-legacy", "-w", *rule.split()])
    vipctl("add-range", RANGES[0], "--fwmark", "17")
    with LocalInCounter(net.director) as counter:
        udp_send(net.client, [VIPS[0]], 9)
        wait_until(lambda: counter.count(17, VIPS[0]) > 0, "it has the service's mark")


def test_conntrack_comes_with_ping_and_goes_with_it(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    assert "REDIRECT" not in saved(net.director)
    vipctl("set-service", "fwmark-17", "--ping")
    assert saved(net.director).count("-j REDIRECT") == 2
    vipctl("set-service", "fwmark-17", "--no-ping")
    assert "REDIRECT" not in saved(net.director)


IN_THREADS = """
from concurrent.futures import ThreadPoolExecutor
from vipctl.linux.iptables import legacy
before = legacy.read(4, "mangle"), legacy.read(6, "mangle")
assert all(before)
with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(lambda n: legacy.read(4 + n % 2 * 2, "mangle"), range(400)))
assert all(one == before[n % 2] for n, one in enumerate(found)), found
"""


def test_threads_that_read_at_once_read_the_same(net: Lab, vipctl: Vipctl) -> None:
    """As the daemon and who measures beside it."""
    vipctl("add-range", *RANGES, "--fwmark", "17", "--port", "tcp/80")
    net.director.run([sys.executable, "-c", IN_THREADS])


def test_a_process_that_only_reads_knows_every_target(vipctl: Vipctl) -> None:
    """Of REDIRECT one file has both IP versions: libxtables would give those of one alone."""
    vipctl("add-range", *RANGES, "--fwmark", "17", "--ping")
    code, printed = processes.run(vipctl, "restore")
    assert (code, printed.get("changed")) == (0, False), printed
    assert processes.run(vipctl, "status")[1]["kernel"] == "as stored"
