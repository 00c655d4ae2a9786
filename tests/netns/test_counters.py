"""Each method counts, for each service, what it accepts and what it refuses."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.waiting import wait_until
from tests.netns import foreign, neighbours
from tests.netns.addresses import OWN, RANGES, VIPS
from tests.netns.packets import transmit, udp
from tests.netns.test_metrics import measured
from vipctl.services.methods import METHODS, PACKETS

CLIENT = {4: "10.0.0.2", 6: "fd00::2"}
TAKEN, LEFT = 80, 99  # ports
METHOD = [name for name in METHODS if name != "shim"]  # its own: tests/vm/test_shim.py
MARK, OTHER = 17, 18
DAMAGE = {
    "fwmark": "nft add chain inet vipctl more",
    "fwmark-iptables": "iptables-legacy -w -t filter -F VIPCTL",
    "route": "nft add chain inet vipctl_route more",
    "tproxy": "nft add chain inet vipctl_tproxy more",
}
Packets = dict[str, int]


@pytest.fixture(params=METHOD)
def method(request: pytest.FixtureRequest, net: Lab, vipctl: Vipctl) -> Iterator[str]:
    """A service with port 80 by a method; who takes what is for that stands for IPVS."""
    name: str = request.param
    vipctl("add-range", *RANGES, *of(name, MARK), "--port", f"udp/{TAKEN}")
    with proxy(net) if name == "tproxy" else ExitStack():
        if name != "tproxy":
            taken = f"meta mark {MARK} udp dport {TAKEN} drop"
            foreign.hook(net.director, "ipvs", "input priority 98", taken)
        yield name


def of(method: str, number: int) -> list[str]:
    """The options of a service without real servers."""
    if METHODS[method].proxied:
        return ["--service", str(number), "--method", method, "--to-port", "8080"]
    return ["--fwmark", str(number), "--method", method]


@contextmanager
def proxy(net: Lab) -> Iterator[None]:
    with ExitStack() as stack, net.director:
        for family, level, option in (
            (socket.AF_INET, socket.SOL_IP, 19),  # IP_TRANSPARENT
            (socket.AF_INET6, socket.IPPROTO_IPV6, 75),  # IPV6_TRANSPARENT
        ):
            one = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            one.setsockopt(level, option, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(("", 8080))
        yield


def send(net: Lab, port: int, number: int, sources: dict[int, str] = CLIENT) -> None:
    """So many packets of each IP version."""
    packets = [udp(sources[v], vip, port) for v, vip in zip((4, 6), VIPS, strict=True)]
    transmit(net.client, net.director, *packets * number)


def counted(vipctl: Vipctl) -> dict[str, Packets]:
    found = vipctl("status")["services"]
    return {name: form["packets"] for name, form in found.items() if "packets" in form}


def expected(method: str, taken: int, left: int, refused: int = 0) -> Packets:
    accepted = taken if METHODS[method].proxied else taken + left
    every = {"accepted": accepted, "left_over": left, "refused": refused}
    return {kind: every[kind] for kind in METHODS[method].counters}


def wait_for(vipctl: Vipctl, wanted: Packets) -> str:
    """Return the service that has it."""
    (name,) = counted(vipctl)
    wait_until(lambda: counted(vipctl)[name] == wanted, f"{wanted}, not {counted(vipctl)}")
    return name


def test_packets_are_counted_and_told(net: Lab, vipctl: Vipctl, method: str) -> None:
    wait_for(vipctl, expected(method, 0, 0))
    send(net, TAKEN, 3)
    send(net, LEFT, 2)
    name = wait_for(vipctl, wanted := expected(method, 6, 4))
    assert vipctl("status")["kernel"] == "as stored"
    metrics = measured(vipctl)
    for kind in PACKETS:
        told = metrics.get(f'vipctl_service_{kind}_packets_total{{service="{name}"}}')
        assert told == wanted.get(kind)
    lines = vipctl.text("status").stdout.splitlines()
    at = next(n for n, line in enumerate(lines) if "LEFT OVER" in line)
    assert lines[at + 1].split() == [name, *(str(wanted.get(kind, "-")) for kind in PACKETS)]


def test_changes_and_repairs_lose_nothing(net: Lab, vipctl: Vipctl, method: str) -> None:
    send(net, TAKEN, 3)
    send(net, LEFT, 2)
    name = wait_for(vipctl, wanted := expected(method, 6, 4))
    for words in (
        ["add-range", "198.51.100.0/24", *of(method, OTHER)],
        ["add-port", name, "tcp/22"],
        ["add-range", "192.0.2.0/24", *of(method, MARK)],
        ["remove-service", name.replace(str(MARK), str(OTHER))],
        ["deactivate"],
        ["activate"],
        ["restore"],
    ):
        assert not vipctl(*words)["restored"], f"{words}: counting is no drift"
        assert counted(vipctl)[name] == wanted, words
    net.director.run(["sh", "-c", DAMAGE[method]])
    assert vipctl("status")["kernel"] == "differs"
    assert vipctl("restore")["restored"]
    assert counted(vipctl)[name] == wanted
    vipctl("remove-service", name)
    assert counted(vipctl) == {}


def test_what_somebody_resets_is_no_drift(net: Lab, vipctl: Vipctl, method: str) -> None:
    send(net, LEFT, 2)
    name = wait_for(vipctl, expected(method, 0, 4))
    zero = "iptables-legacy -w -Z; ip6tables-legacy -w -Z"
    net.director.run(["sh", "-c", zero if "iptables" in method else "nft reset counters"])
    assert counted(vipctl) == {name: expected(method, 0, 0)}
    assert vipctl("status")["kernel"] == "as stored"
    assert not vipctl("restore")["restored"]


def test_a_new_service_begins_at_nothing(net: Lab, vipctl: Vipctl, method: str) -> None:
    send(net, LEFT, 2)
    name = wait_for(vipctl, expected(method, 0, 4))
    vipctl("remove-service", name)
    vipctl("add-range", *RANGES, *of(method, MARK))
    assert counted(vipctl) == {name: expected(method, 0, 0)}


@pytest.mark.parametrize("method", ["tproxy"], indirect=True)
def test_sources_that_may_not_be_answered_are_counted_by_themselves(
    net: Lab, vipctl: Vipctl, method: str
) -> None:
    send(net, LEFT, 2, {4: OWN[0], 6: OWN[1]})
    send(net, LEFT, 1)
    wait_for(vipctl, expected(method, 0, 2, 4))


def test_what_others_count_in_the_table_is_no_number_of_ours(
    net: Lab, vipctl: Vipctl, tmp_path: Path
) -> None:
    vipctl("add-range", RANGES[0], "--fwmark", "17", "--method", "fwmark")
    for name in ("left_over_0x12", "left_over_zz", "mine"):
        net.director.run(["nft", "add", "counter", "inet", "vipctl", name])
    (found,) = counted(vipctl).values()
    assert found == {"left_over": 0}
    (said,) = vipctl("status")["differences"]
    assert "a chain, or a counter, that is not vipctl's" in said["what"]
    vipctl("restore")
    assert "mine" not in net.director.run(["nft", "list", "counters"]).stdout


@pytest.mark.parametrize("method", METHOD, indirect=True)
def test_an_own_address_that_is_a_vip_finds_its_neighbours(net: Lab, method: str) -> None:
    assert neighbours.finds(net), method
