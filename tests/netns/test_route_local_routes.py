"""The `route` method beside local routes of others, the kernel's own among them."""

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.netns import snapshot
from tests.netns.addresses import OWN, RANGES
from tests.netns.route import ROUTE

FOREIGN = (
    "route add local 203.0.113.0/24 dev lo proto static",
    "route add local 203.0.113.0/24 dev lo metric 30319 proto static",
    "route add local 198.18.0.0/15 dev lo",
    "route add local 198.51.100.0/24 dev lo table 99 proto 118 metric 30320",
    "route add blackhole 192.0.2.0/24 metric 30320 proto 118",
    "-6 route add local 2001:db8:1::/64 dev lo proto static metric 1",
    "-6 route add local 2001:db8:9::/48 dev lo",
)


def _routes(host: Namespace) -> dict[str, list[str]]:
    """Return the routes of table local, without and with our protocol."""
    listed = host.run(
        ["sh", "-c", "ip route show table local; ip -6 route show table local"]
    ).stdout.splitlines()
    ours = [line for line in listed if " proto 118 " in line]
    return {"ours": ours, "others": [line for line in listed if line not in ours]}


def test_only_its_own_local_routes_are_touched(net: Lab, vipctl: Vipctl) -> None:
    for command in FOREIGN:
        net.director.run(["ip", *command.split()])
    before, foreign = snapshot.kernel(net.director), _routes(net.director)["others"]
    held = (*RANGES, "198.18.5.0/24", "192.0.2.7")
    for words in (
        ["add-range", *held, "--fwmark", "17", *ROUTE],
        ["restore"],
        ["set-service", "fwmark-17", "--arp"],
        ["remove-range", "203.0.113.0/25"],
        ["add-range", *held, "--fwmark", "17"],
    ):
        vipctl(*words)
        assert _routes(net.director)["others"] == foreign, words
    assert sorted(_routes(net.director)["ours"]) == [
        "local 192.0.2.7 dev lo proto 118 scope host metric 30320 ",
        "local 198.18.5.0/24 dev lo proto 118 scope host metric 30320 ",
        "local 2001:db8:1::/64 dev lo proto 118 metric 30320 pref medium",
        "local 203.0.113.0/24 dev lo proto 118 scope host metric 30320 ",
    ]
    net.director.run(["nft", "delete", "table", "inet", "vipctl_route"])
    vipctl("restore")
    assert _routes(net.director)["others"] == foreign
    vipctl("remove-service", "fwmark-17")
    assert snapshot.kernel(net.director) == before


def test_an_address_of_the_directors_own_stays_its_own(net: Lab, vipctl: Vipctl) -> None:
    """Its kernel's route comes first, and is there when the range is gone."""
    before = snapshot.kernel(net.director)
    code, error = vipctl.error("add-range", *OWN, "--fwmark", "17", *ROUTE)
    assert (code, "--force" in error["hint"]) == (3, True)
    vipctl("add-range", *OWN, "--fwmark", "17", "--force", "--arp", *ROUTE)
    assert vipctl("status")["kernel"] == "as stored"
    for address in OWN:
        best = net.director.run(["ip", "route", "get", "fibmatch", address]).stdout
        assert "proto kernel" in best
    vipctl("remove-service", "fwmark-17")
    assert snapshot.kernel(net.director) == before
