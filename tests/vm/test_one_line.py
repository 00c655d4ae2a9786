"""The one line that does the main job, as the README and the demo have it."""

import ipaddress
import random
import shlex
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import tcp_post
from tests.harness.waiting import wait_until
from tests.vm.conftest import traceless
from tests.vm.observe import addresses, ipvs, kernel_state, outcomes, tcp, udp

ONE_LINE = (
    "vipctl add-range 203.0.113.0/24 198.51.100.10-198.51.100.99 2001:db8:1::/64 --service web "
    "--real 10.0.1.11 --real 10.0.1.12,weight=2 --real fd00:1::11 --scheduler wrr --forward nat "
    "--set-sysctls"
)
VIPS4 = [
    *(f"203.0.113.{host}" for host in (0, 1, 2, 7, 63, 64, 77, 99, 128, 200, 254, 255)),
    *(f"198.51.100.{host}" for host in (10, 11, 12, 31, 32, 33, 63, 64, 65, 97, 98, 99)),
]
VIPS6 = [
    str(ipaddress.IPv6Address(0x20010DB8_0001_0000 << 64 | random.getrandbits(64)))
    for _ in range(12)
]
OUTSIDE = ("198.51.100.9", "198.51.100.100", "203.0.112.255", "2001:db8:2::1")
THIRD = len(VIPS4) // 3


@pytest.fixture(scope="module")
def vipctl(net: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vipctl]:
    with traceless(net.director, tmp_path_factory.mktemp("one-line")) as command:
        before = addresses(net.director)
        done = command(*shlex.split(ONE_LINE)[1:])
        assert done["changed"]
        assert not done["warnings"]
        assert addresses(net.director) == before
        yield command


def test_every_vip_is_balanced_by_weight(net: Lab, vipctl: Vipctl) -> None:
    assert tcp(net.client, VIPS4) == Counter(real1=THIRD, real2=2 * THIRD)
    assert udp(net.client, VIPS4) == Counter(real1=THIRD, real2=2 * THIRD)
    assert tcp(net.client, VIPS6) == udp(net.client, VIPS6) == Counter(real1=len(VIPS6))


def _assert_not_taken(net: Lab, *outside: str) -> None:
    replies = outcomes(net.client, outside, 80)
    assert {word for pair in replies.values() for word in pair} <= {"unreachable", "timeout"}


def test_addresses_beside_the_ranges_are_not_taken(net: Lab, vipctl: Vipctl) -> None:
    _assert_not_taken(net, *OUTSIDE)


def test_ipvs_has_both_families(net: Lab, vipctl: Vipctl) -> None:
    assert ipvs(net.director) == {
        "-A -f 4096 -s wrr",
        "-a -f 4096 -r 10.0.1.11:0 -m -w 1",
        "-a -f 4096 -r 10.0.1.12:0 -m -w 2",
        "-A -f 4096 -6 -s wrr",
        "-a -f 4096 -6 -r [fd00:1::11]:0 -m -w 1",
    }


def test_status_counts(net: Lab, vipctl: Vipctl) -> None:
    """IPVS adds up its totals every two seconds, at a moment within a connection as well.

    Those of a real server go on where they were if it comes again while it has connections.
    """

    def counters() -> dict[str, dict[str, int]]:
        shown = vipctl("status")["services"]["web"]["ipvs"]
        reals = {name: real for family in shown.values() for name, real in family["reals"].items()}
        assert set(shown | reals) == {"ipv4", "ipv6", "10.0.1.11", "10.0.1.12", "fd00:1::11"}
        found: dict[str, dict[str, int]] = shown | reals
        return found

    before = counters()
    tcp(net.client, [*VIPS4, *VIPS6])
    tcp_post(net.client, VIPS4[0], 80, 100_000)
    grown = {"10.0.1.11": THIRD, "10.0.1.12": 2 * THIRD, "fd00:1::11": len(VIPS6)}
    grown |= {"ipv4": 3 * THIRD + 1, "ipv6": len(VIPS6)}
    wanted = {name: before[name]["connections"] + more for name, more in grown.items()}

    def counted() -> bool:
        seen.append(counters())
        total = seen[-1]["ipv4"]
        return (
            all(seen[-1][name]["connections"] >= wanted[name] for name in wanted)
            and total["bytes_in"] > 100_000 > total["bytes_out"] > 0
        )

    seen: list[dict[str, dict[str, int]]] = []
    try:
        wait_until(counted, "status counts the connections and their bytes", 60)
    except TimeoutError:
        pytest.fail(f"{before}, then {seen}, should be {wanted} and 100,000 bytes in")


def test_status_for_people(vipctl: Vipctl) -> None:
    shown = vipctl.text("status").stdout
    assert "kernel: as stored" in shown
    rows = [line.split()[:3] for line in shown.splitlines()]
    for row in (["10.0.1.11", "1"], ["10.0.1.12", "2"], ["fd00:1::11", "1"]):
        assert ["web", *row] in rows


def test_again_changes_nothing(net: Lab, vipctl: Vipctl) -> None:
    before = kernel_state(net.director)
    assert not vipctl(*shlex.split(ONE_LINE)[1:])["changed"]
    assert kernel_state(net.director) == before


def test_removed_range_is_not_taken(net: Lab, vipctl: Vipctl) -> None:
    assert vipctl("remove-range", "203.0.113.64/26")["removed"]["addresses"] == 64
    _assert_not_taken(net, "203.0.113.64", "203.0.113.127")
    assert tcp(net.client, ["203.0.113.63", "203.0.113.128"] * 3) == Counter(real1=2, real2=4)
