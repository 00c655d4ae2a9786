"""Ranges go from service to service, services get other names: no client is refused meanwhile."""

import json

import pytest

from tests.harness.command import Vipctl, changes
from tests.harness.lab import Lab
from tests.netns import snapshot
from tests.netns.arrivals import accepted
from tests.netns.route import BeforeIpvs
from tests.netns.test_switch import lossless

RANGES = ("203.0.113.0/24", "2001:db8:1::/64")
VIPS = ["203.0.113.77", "2001:db8:1::77"]
METHODS = ["fwmark", "fwmark-iptables", "route"]


@pytest.fixture
def counter(net: Lab) -> BeforeIpvs:
    """The counter of the director; it goes when the director does."""
    return BeforeIpvs(net.director)


@pytest.fixture
def two(vipctl: Vipctl) -> Vipctl:
    """Two services; the first has a part of its ranges from further ones."""
    vipctl("add-range", *RANGES, "198.51.100.0/24", "--fwmark", "17", "--leftover=drop")
    vipctl("add-range", "192.0.2.0/24", "--fwmark", "18", "--leftover=drop")
    return vipctl


@pytest.mark.parametrize("other", METHODS)
@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_lost(
    net: Lab, vipctl: Vipctl, counter: BeforeIpvs, method: str, other: str
) -> None:
    drop = ("--leftover=drop",)
    vipctl("add-range", *RANGES, "--fwmark", "17", "--method", method, *drop)
    vipctl("add-range", "192.0.2.0/24", "--fwmark", "18", "--method", other, *drop)
    with lossless(net, counter, [*VIPS, "192.0.2.7", "203.0.113.200"], 17, 18):
        done = vipctl("move-range", "203.0.113.0/25", RANGES[1], "--to", "fwmark-18")
    assert done["added"]["addresses"] == done["removed"]["addresses"] == 0
    got = accepted(net, counter, [*VIPS, "203.0.113.200", "192.0.2.7"])
    assert got == dict.fromkeys([*VIPS, "192.0.2.7"], 18) | {"203.0.113.200": 17}
    assert vipctl("restore")["changed"] is False


def test_what_nobody_else_holds_stays_as_it_is(two: Vipctl) -> None:
    before = two("export")
    for ranges in (["192.0.2.0/24"], ["10.9.9.0/24"]):
        done = two("move-range", *ranges, "--to", "fwmark-18")
        assert (done["changed"], done["idle"]) == (False, "no other service holds any of these")
    assert two("export") == before


def test_the_last_range_ends_acceptance_only(two: Vipctl) -> None:
    done = two("move-range", *RANGES, "198.51.100.0/24", "--to=fwmark-18")
    assert done["removed_services"] == ["fwmark-17"]
    assert two("move-range", *RANGES, "--to=fwmark-18")["changed"] is False
    assert list(two("list-services")["services"]) == ["fwmark-18"]


def test_check_moves_nothing(net: Lab, two: Vipctl) -> None:
    before = snapshot.kernel(net.director), two("export")
    assert two("--check", "move-range", *RANGES, "--to=fwmark-18")["changed"] is True
    assert (snapshot.kernel(net.director), two("export")) == before


def test_what_two_share_is_refused(vipctl: Vipctl) -> None:
    for mark in ("17", "18"):
        vipctl("add-range", *RANGES, "--fwmark", mark, f"--port=tcp/{mark}")
    vipctl("add-service", "web")
    code, error = vipctl.error("move-range", RANGES[0], "--to=web")
    assert (code, error["kind"]) == (3, "refused")
    assert "share" in error["message"]


def test_an_unknown_service_is_told_with_the_nearest(two: Vipctl) -> None:
    code, error = two.error("move-range", RANGES[0], "--to=fwmark18")
    assert (code, error["hint"]) == (3, "did you mean fwmark-18 or fwmark-17?")
    code, error = two.error("mov-range", RANGES[0], "--to=fwmark18")
    assert (code, error["hint"]) == (2, "did you mean move-range or remove-range or add-range?")


def test_a_service_gets_another_name(net: Lab, vipctl: Vipctl, counter: BeforeIpvs) -> None:
    vipctl("add-service", "web", "--leftover=drop")
    vipctl("add-range", *RANGES, "--service=web")
    counter.reset()
    before = snapshot.kernel(net.director)
    mark = vipctl("list-services")["services"]["web"]["fwmark"]
    assert vipctl("--check", "rename-service", "web", "shop")["changed"] is True
    done = vipctl("rename-service", "web", "shop")
    assert changes(done) == ["service web is shop now"]
    assert snapshot.kernel(net.director) == before
    assert vipctl("list-services")["services"]["shop"]["fwmark"] == mark
    assert {row["service"] for row in vipctl("list-ranges")["ranges"]} == {"shop"}
    assert vipctl("restore")["changed"] is False
    assert vipctl("rename-service", "web", "shop")["changed"] is False
    vipctl("add-service", "web")
    for words, code in (
        (["shop", "web"], 3),
        (["shop", "fwmark-9"], 2),
        (["none", "other"], 3),
        (["shop", "a b"], 2),
    ):
        assert vipctl.error("rename-service", *words)[0] == code


def test_acceptance_only_keeps_its_name(two: Vipctl) -> None:
    code, error = two.error("rename-service", "fwmark-17", "web")
    assert (code, error["kind"]) == (3, "refused")


def test_several_services_end_at_once(two: Vipctl) -> None:
    done = two("remove-service", "fwmark-17", "none", "fwmark-18")
    assert done["removed_services"] == ["fwmark-17", "fwmark-18"]
    assert done["warnings"] == ["there is no service 'none'"]
    done = two("remove-service", "fwmark-17", "none")
    assert (done["changed"], done["idle"]) == (False, "there is no service fwmark-17 or none")


def test_what_is_common_may_stand_anywhere(two: Vipctl) -> None:
    done = two.text("remove-range", "--check", RANGES[0], "--json")
    assert json.loads(done.stdout)["check"] is True
    assert two("list-services")["services"]["fwmark-17"]["prefixes"] == 3
    two("add-service", "web")
    done = two.text("remove-range", "192.0.2.1", "--service=web")
    assert done.stdout == "unchanged: web holds none of these\n"
    done = two.text("remove-range", "--", "--check")
    assert done.code == 2


def test_acceptance_only_is_named_or_its_mark(two: Vipctl) -> None:
    new = "198.18.0.0/24"
    done = two("add-range", new, "--service=fwmark-17")
    assert done["by_service"]["fwmark-17"]["added"]["prefixes"] == 1
    assert two("add-range", new, "--fwmark=17")["changed"] is False
    done = two("add-range", "198.18.1.0/24", "--service=fwmark-19", "--leftover=drop")
    assert done["services"]["fwmark-19"]["fwmark"] == 19
    assert two("add-range", "198.18.1.0/24", "--fwmark=0x13")["changed"] is False


def test_what_was_not_there_is_told(two: Vipctl) -> None:
    two("add-service", "web")
    done = two("remove-real", "web", "10.0.1.11")
    assert (done["changed"], done["idle"]) == (False, "web has none of these")
    done = two("remove-real", "10.0.1.11", "--all-services")
    assert (done["changed"], done["idle"]) == (False, "no service has any of these")
    for words, kind in (
        (["set-real", "10.0.1.11,weight=2"], " with other options"),
        (["drain-real", "10.0.1.11"], " that is not drained"),
        (["undrain-real", "10.0.1.11"], " that is drained"),
        (["replace-real", "10.0.1.11", "10.0.1.12"], " to be replaced"),
    ):
        done = two(*words, "--all-services")
        assert (done["changed"], done["idle"]) == (False, f"no service has any of these{kind}")
    code, error = two.error("list-ranges", "--service=wbe")
    assert (code, error["hint"]) == (3, "did you mean web?")
