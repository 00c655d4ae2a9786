"""`status` says what differs from the stored state, of which services, and what to do."""

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns.stored import balance

# Method, what somebody does, what is said of it.
DAMAGE = (
    ("fwmark", "nft delete table inet vipctl", "the nftables table inet vipctl is not there"),
    ("fwmark", "ip rule del pref 4301", "not there: ip -4 rule pref 4301 fwmark"),
    ("fwmark", "nft flush chain inet vipctl leftover", "chain leftover has 0 rules, should have 4"),
    ("fwmark", "nft add chain inet vipctl more", "has a chain, or a counter, that is not vipctl's"),
    (
        "fwmark",
        "nft delete element inet vipctl v4_24_1024 '{ 203.0.113.0 }'; ip -6 rule del pref 4301",
        "not there: ip -6 rule pref 4301 fwmark",
    ),
    ("route", "ip route del local 203.0.113.0/24 table local", "the local route of 203.0.113.0/24"),
    ("route", "nft delete table arp vipctl_route", "table arp vipctl_route is not there"),
)
MANY = ("203.0.113.0/24", "2001:db8:1::/64")


def test_what_differs_is_said(net: Lab, vipctl: Vipctl) -> None:
    """And nothing is left to say once the advice is followed."""
    for method, damage, words in DAMAGE:
        vipctl("add-range", *MANY, "--fwmark", "17", "--method", method)
        net.director.run(["sh", "-ec", damage])
        found = vipctl("status")["differences"]
        assert any(words in one["what"] for one in found), (damage, found)
        assert {(one["hint"], *one["services"]) for one in found} == {
            ("vipctl restore puts it back", "fwmark-17")
        }
        text = vipctl.text("status").stdout
        assert f"\nkernel: differs\n  fwmark-17: method {method}: " in text
        assert "\n  → vipctl restore puts it back\n" in text
        vipctl("restore")
        assert vipctl("status")["differences"] == []
        vipctl("remove-service", "fwmark-17")


def test_the_exit_code_tells_if_asked_and_of_the_services_that_are_named(
    net: Lab, vipctl: Vipctl
) -> None:
    vipctl("add-range", MANY[0], "--fwmark", "17", "--method", "fwmark")
    vipctl("add-range", "198.51.100.0/24", "--fwmark", "18", "--method", "route")
    assert vipctl.text("status", "--exit-code").code == 0
    net.director.run(["nft", "delete", "table", "inet", "vipctl"])
    codes = {
        words: vipctl.text("status", *words).code
        for words in ((), ("--exit-code",), ("--exit-code", "fwmark-17"), ("fwmark-17",))
    }
    assert list(codes.values()) == [0, 3, 3, 0]
    other = vipctl.text("status", "--exit-code", "fwmark-18")
    assert (other.code, "fwmark-17" in other.stdout) == (0, False)
    assert list(vipctl("status", "fwmark-18")["services"]) == ["fwmark-18"]
    code, error = vipctl.error("status", "fwmark-19")
    assert (code, error["message"]) == (3, "there is no service 'fwmark-19'")


def test_a_method_that_cannot_be_used_is_told_where_a_service_has_it(vipctl: Vipctl) -> None:
    vipctl("add-range", *MANY, "--service", "web", "--method", "fwmark")
    assert vipctl("status")["methods"]["shim"]["usable"] is False, "this kernel has no modules"
    assert "method" not in vipctl.text("status").stdout
    balance(vipctl, "shim", ("10.0.1.11",), "nat", "wlc")
    told = vipctl.text("status").stdout
    assert "\nmethod shim: the module vip_shim is not loaded" in told


def test_what_is_accepted_and_balanced_by_nothing_is_told(vipctl: Vipctl) -> None:
    """This kernel has no IPVS: `doctor` and `explain` say so in the same words."""
    vipctl("add-range", *MANY, "--service", "web", "--method", "tproxy", "--to-port", "80")
    assert vipctl("status")["unbalanced"] == []
    vipctl("add-range", "192.0.2.0/24", "--fwmark", "17", "--method", "fwmark")
    (told,) = vipctl("status")["unbalanced"]
    assert told.startswith("VIPs of fwmark-17 are balanced by nothing: this kernel has no IPVS, ")
    text = vipctl.text("status").stdout
    assert f"\n{told}\n" in text
    assert text.endswith("\n  above: 1 more that may keep VIPs from answering\n")
    why = told.partition(": ")[2].partition("; ")[0]
    for command in (["doctor"], ["explain", "192.0.2.7"]):
        assert f"{why} [no-ipvs]\n" in vipctl.text(*command).stdout
    vipctl("deactivate")
    assert vipctl("status")["unbalanced"] == []


def test_services_are_in_the_order_in_which_people_count(vipctl: Vipctl) -> None:
    for mark in (110, 19, 18):
        vipctl("add-range", f"198.51.100.{mark}", "--fwmark", str(mark))
    names = ["fwmark-18", "fwmark-19", "fwmark-110"]
    for command in ("status", "list-services"):
        assert list(vipctl(command)["services"]) == names
    assert [one["service"] for one in vipctl("list-ranges")["ranges"]] == names
