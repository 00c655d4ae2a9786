"""Who has an address: by what is stored, and by the kernel."""

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns import snapshot

RANGES = ("203.0.113.0-203.0.113.130", "2001:db8:1::/64")
DAMAGE = {
    "fwmark": ["nft delete element inet vipctl v4_25_1024 { 203.0.113.0 : 17 }"],
    "fwmark-iptables": ["ipset del vipctl4 203.0.113.0/25"],
    "route": [
        "nft delete element inet vipctl_route v4_25_1024 { 203.0.113.0 : 17 }",
        "ip route del local 203.0.113.0/25 dev lo table local",
    ],
    "tproxy": ["nft delete element inet vipctl_tproxy v4_25_1024 { 203.0.113.0 : 17 }"],
}
CASES = [(method, damage) for method, found in DAMAGE.items() for damage in found]


def holders(vipctl: Vipctl, vip: str) -> list[dict[str, object]]:
    (found,) = vipctl("lookup", vip)["addresses"]
    assert found["address"] == vip
    held: list[dict[str, object]] = found["holders"]
    return held


@pytest.mark.parametrize(("method", "damage"), CASES)
def test_the_kernel_is_asked_for_the_prefix(
    net: Lab, vipctl: Vipctl, method: str, damage: str
) -> None:
    how = ["--service=web", "--to-port=8080"] if method == "tproxy" else []
    vipctl("add-range", *RANGES, "--fwmark=17", f"--method={method}", *how)
    name = "web" if how else "fwmark-17"
    form = {"service": name, "method": method, "fwmark": 17, "ports": [], "kernel": "as stored"}
    assert holders(vipctl, "203.0.113.7") == [form | {"range": "203.0.113.0/25"}]
    assert holders(vipctl, "203.0.113.130") == [form | {"range": "203.0.113.130/32"}]
    assert holders(vipctl, "2001:db8:1::7") == [form | {"range": "2001:db8:1::/64"}]
    assert holders(vipctl, "203.0.113.131") == holders(vipctl, "203.0.112.255") == []
    before = snapshot.kernel(net.director), vipctl("export")
    net.director.run(["sh", "-ec", damage])
    assert holders(vipctl, "203.0.113.127")[0]["kernel"] == "differs"
    assert holders(vipctl, "203.0.113.128")[0]["kernel"] == "as stored"
    assert holders(vipctl, "2001:db8:1::7")[0]["kernel"] == "as stored"
    vipctl("restore")
    assert holders(vipctl, "203.0.113.127")[0]["kernel"] == "as stored"
    assert (snapshot.kernel(net.director), vipctl("export")) == before


def test_another_mark_and_no_table_differ(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark=17", "--method=fwmark")
    where = "element inet vipctl v4_25_1024 { 203.0.113.0 :"
    net.director.run(["nft", f"delete {where} 17 }}; add {where} 18 }}"])
    assert holders(vipctl, "203.0.113.7")[0]["kernel"] == "differs"
    net.director.run(["nft", "delete table inet vipctl"])
    assert holders(vipctl, "203.0.113.7")[0]["kernel"] == "differs"


def test_services_that_share_a_vip_are_all_told(vipctl: Vipctl) -> None:
    vipctl("add-range", "203.0.113.0/24", "--fwmark=17", "--port=tcp/80")
    vipctl("add-range", "203.0.113.7", "--fwmark=18", "--port=udp/53")
    found = holders(vipctl, "203.0.113.7")
    assert [(one["service"], one["range"], one["ports"], one["kernel"]) for one in found] == [
        ("fwmark-17", "203.0.113.0/24", ["tcp/80"], "as stored"),
        ("fwmark-18", "203.0.113.7/32", ["udp/53"], "as stored"),
    ]
    done = vipctl.text("lookup", "203.0.113.7", "10.9.9.9")
    assert done.code == 0
    assert "203.0.113.7/32" in done.stdout
    assert "no service has it" in done.stdout


def test_what_is_no_address_is_refused(vipctl: Vipctl) -> None:
    for word in ("203.0.113.0/24", "web", ""):
        assert vipctl.error("lookup", word)[0] == 2
    assert vipctl("lookup", "203.0.113.7")["addresses"] == [
        {"address": "203.0.113.7", "holders": []}
    ]
