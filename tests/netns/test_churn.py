"""Others change addresses and rules all the time: vipctl misses none that stay."""

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.netns.churn import churn
from vipctl.addresses.prefixes import address
from vipctl.linux.routing import fwmarks, rules, ways
from vipctl.methods.fwmark import BLOCK

TIMES = 100  # that they are read: of 300 readings 26 and 20 missed something
STAY, COME_AND_GO = range(20, 601), range(1, 20)


def _address(number: int) -> str:
    return str(address(4, (10 << 24) + (number << 8) + 1))


@pytest.fixture
def changing_addresses(net: Lab) -> Namespace:
    """Those that come and go are before those that stay: of another scope."""
    host = net.director
    host.ip(*(f"addr add {_address(n)}/32 dev lo" for n in STAY))
    return host


def _addresses_come_and_go() -> list[str]:
    verbs = ("add", "del")
    return [f"addr {v} {_address(n)}/32 dev lo scope host" for v in verbs for n in COME_AND_GO]


def _rules_come_and_go() -> list[str]:
    return [f"rule {v} pref {n} lookup 98" for v in ("add", "del") for n in COME_AND_GO]


def test_no_address_is_missed(changing_addresses: Namespace) -> None:
    staying = {_address(n) for n in STAY}
    with churn(changing_addresses, _addresses_come_and_go()), changing_addresses:
        for _ in range(TIMES):
            assert staying <= {str(found) for found in ways.addresses()}


def test_an_address_of_the_director_is_refused(
    changing_addresses: Namespace, vipctl: Vipctl
) -> None:
    with churn(changing_addresses, _addresses_come_and_go()):
        for number in list(STAY)[::20]:
            code, error = vipctl.error("--check", "add-range", _address(number), "--fwmark", "17")
            assert (code, error["kind"]) == (3, "refused"), error


def test_no_rule_is_missed(net: Lab, vipctl: Vipctl) -> None:
    """The kernel does not tell that some are missing: a change tells it, or many readings."""
    vipctl("add-range", "203.0.113.0/24", "2001:db8::/64", "--fwmark", "17")
    net.director.ip(*(f"rule add pref {n} lookup 98" for n in STAY))
    with net.director:
        staying, ours = _rules_that_stay(), fwmarks.read(BLOCK)
        assert len(staying) > len(STAY)
    with churn(net.director, _rules_come_and_go()), net.director:
        for _ in range(TIMES):
            assert _rules_that_stay() == staying
            assert fwmarks.read(BLOCK) == ours


def _rules_that_stay() -> set[rules.Rule]:
    return {rule for rule in rules.read() if rule.priority not in COME_AND_GO}
