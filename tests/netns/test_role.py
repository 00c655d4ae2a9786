"""A director is made passive, and active again: by every method that leaves VIPs to IPVS.

A passive one lets nothing reach IPVS, and is silent: no answer, no error, no packet that loops.
"""

import _socket
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.harness.command import Vipctl, changes
from tests.harness.lab import Lab
from tests.harness.traffic import udp_send
from tests.harness.waiting import wait_until
from tests.netns import snapshot
from tests.netns.addresses import OTHER_RANGES, OTHERS, RANGES, VIPS
from tests.netns.arrivals import accepted, settle
from tests.netns.pings import answering
from tests.netns.route import BeforeIpvs
from tests.netns.test_watch import watching
from tests.netns.wire import comes_back, connect
from vipctl.linux import netlink
from vipctl.linux.nftables.transactions import BATCH_BEGIN
from vipctl.linux.routing.localroutes import RTM_DELROUTE, RTM_NEWROUTE
from vipctl.linux.routing.rules import RTM_DELRULE, RTM_NEWRULE

METHODS = ["fwmark", "fwmark-iptables", "route"]
RULE = {RTM_NEWRULE: 1, RTM_DELRULE: 1, BATCH_BEGIN: 0}
OPERATIONS = {  # by kind: what it takes to make IPv4 passive, and active again
    "fwmark": RULE,
    "fwmark-iptables": RULE,
    "route": {RTM_NEWROUTE: 0, RTM_DELROUTE: 0, BATCH_BEGIN: 2},
}
FIRST = int(ip_address("100.64.0.0"))
BOTH = [*VIPS, *OTHERS]


@pytest.fixture(params=METHODS)
def two(request: pytest.FixtureRequest, vipctl: Vipctl) -> Vipctl:
    """A director with a service for VIPS and another for OTHERS, which answer pings."""
    for mark, ranges in (("17", RANGES), ("0x1002", OTHER_RANGES)):
        vipctl("add-range", *ranges, "--fwmark", mark, "--ping", "--method", request.param)
    return vipctl


def assert_accepted(net: Lab, counter: BeforeIpvs, vips: Iterable[str]) -> None:
    """These, of all VIPs, come to where IPVS is, and answer pings; and nothing else comes back."""
    wanted = {*vips}
    assert {*accepted(net, counter, BOTH)} == wanted
    assert answering(net, BOTH) == wanted
    assert comes_back(net, BOTH) == wanted


def test_a_passive_director_is_silent(net: Lab, two: Vipctl, before_ipvs: BeforeIpvs) -> None:
    before_ipvs.reset()
    whole = snapshot.unordered(net.director)
    assert_accepted(net, before_ipvs, BOTH)
    done = two("deactivate")
    assert (changes(done), done["warnings"]) == (["this director is passive"], [])
    assert_accepted(net, before_ipvs, [])
    assert two("deactivate")["changed"] is False
    seen = two("status")
    assert (seen["kernel"], seen["role"], seen["findings"]) == ("as stored", "passive", [])
    assert two("restore")["changed"] is False
    assert changes(two("activate")) == ["this director is active"]
    assert_accepted(net, before_ipvs, BOTH)
    before_ipvs.reset()
    assert snapshot.unordered(net.director) == whole


def test_a_passive_service_is_silent(net: Lab, two: Vipctl, before_ipvs: BeforeIpvs) -> None:
    """It stays so while the director changes its role."""
    done = two("deactivate", "--service", "fwmark-17")
    assert changes(done) == ["service fwmark-17 is passive"]
    assert_accepted(net, before_ipvs, OTHERS)
    two("deactivate")
    assert_accepted(net, before_ipvs, [])
    (warning,) = two("activate")["warnings"]
    assert "vipctl activate --service fwmark-17" in warning
    assert_accepted(net, before_ipvs, OTHERS)
    two("activate", "--service", "fwmark-17")
    assert_accepted(net, before_ipvs, BOTH)


@pytest.mark.parametrize("method", METHODS)
def test_of_services_that_share_vips_one_is_silent(
    net: Lab, vipctl: Vipctl, before_ipvs: BeforeIpvs, method: str
) -> None:
    for mark, port in (("17", "udp/9"), ("18", "tcp/80")):
        words = ["--fwmark", mark, "--port", port, "--method", method]
        vipctl("add-range", *RANGES, *words)
    for passive, other in ((17, 18), (18, 17)):
        vipctl("deactivate", "--service", f"fwmark-{passive}")
        assert sorted(sent_to_both(net, before_ipvs)) == sorted((other, vip) for vip in VIPS)
        vipctl("activate", "--service", f"fwmark-{passive}")


def sent_to_both(net: Lab, counter: BeforeIpvs) -> set[tuple[int, str]]:
    """Marks and VIPs of what comes, of UDP and TCP to each VIP."""
    counter.reset()
    for vip in VIPS:
        connect(net.client, vip, 80)
    udp_send(net.client, [*VIPS], 9)
    settle(net.client, counter)
    return {found for found in counter.counts() if found[0]}


def test_every_command_keeps_the_role(
    net: Lab, two: Vipctl, before_ipvs: BeforeIpvs, tmp_path: Path
) -> None:
    document = tmp_path / "services.yaml"
    two("deactivate")
    two("add-range", "192.0.2.0/24", "--fwmark", "17")
    two("set-service", "fwmark-17", "--port", "udp/9", "--leftover", "drop")
    two("set-service", "fwmark-17", "--port", "all", "--leftover", "reject")
    two("add-range", "192.0.3.0/24", "--fwmark", "19")
    document.write_text(two.text("export").stdout)
    assert "passive" not in document.read_text()
    two("remove-service", "fwmark-17")
    assert two("apply", str(document))["changed"] is True
    assert {two("list-services")["role"], two("status")["role"]} == {"passive"}
    lose_everything(net)
    assert two("restore")["restored"] is True
    assert_accepted(net, before_ipvs, [])
    two("activate")
    assert_accepted(net, before_ipvs, BOTH)


def lose_everything(net: Lab) -> None:
    for table in ("inet vipctl", "inet vipctl_route", "arp vipctl_route"):
        net.director.run(["nft", "delete", "table", *table.split()], check=False)
    for version in ("-4", "-6"):
        for priority in ("4300", "4301", "4302", "4310", "4311", "4312"):
            net.director.run(["ip", version, "rule", "del", "pref", priority], check=False)


def test_healing_keeps_the_role(
    net: Lab, two: Vipctl, before_ipvs: BeforeIpvs, tmp_path: Path
) -> None:
    with watching(two, tmp_path / "log") as daemon:
        two("deactivate")
        lose_everything(net)
        daemon.wait_for("put back: method")
        wait_until(lambda: two("status")["kernel"] == "as stored", "all is put back")
        assert_accepted(net, before_ipvs, [])


def test_check_changes_nothing(net: Lab, two: Vipctl) -> None:
    before = snapshot.unordered(net.director)
    assert two("--check", "deactivate")["changed"] is True
    assert snapshot.unordered(net.director) == before
    assert two("list-services")["role"] == "active"


@pytest.mark.parametrize(
    ("method", "many"), [("fwmark", 1_000_000), ("fwmark-iptables", 20_000), ("route", 20_000)]
)
def test_a_million_vips_take_as_many_messages_as_two(
    vipctl: Vipctl, tmp_path: Path, method: str, many: int
) -> None:
    """Of every kind; methods without a counter of changes look for the outermost two."""
    vips = [str(ip_address(FIRST + 2 * n)) for n in range(many)]
    file = tmp_path / "vips"
    file.write_text("\n".join(vips))
    vipctl("add-range", vips[0], vips[-1], "--fwmark", "17", "--method", method)
    few = messages_of_a_switch(vipctl)
    assert {kind: few[kind] for kind in OPERATIONS[method]} == OPERATIONS[method]
    assert vipctl("add-range", f"@{file}", "--fwmark", "17")["added"]["prefixes"] == many - 2
    assert messages_of_a_switch(vipctl) == few


def messages_of_a_switch(vipctl: Vipctl) -> Counter[int]:
    """What the kernel is sent to make the director passive and active, by kind of message."""
    with sent() as kinds:
        assert vipctl("deactivate")["changed"] is True
        assert vipctl("activate")["changed"] is True
    return kinds


@contextmanager
def sent() -> Iterator[Counter[int]]:
    """The messages over netlink meanwhile, by kind."""
    kinds = Counter[int]()

    class Counting(_socket.socket):
        def sendall(self, data: Any, *more: int) -> None:
            kinds.update(kind for _, _, kind, *_ in netlink.headers(bytes(data)))
            super().sendall(data, *more)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(netlink, "socket", SimpleNamespace(**vars(_socket) | {"socket": Counting}))
        yield kinds
