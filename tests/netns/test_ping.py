"""Echo requests for a VIP are answered where the service says so, and nowhere else."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from tests.harness.command import Vipctl
from tests.harness.lab import Lab

RANGES = ("203.0.113.0/24", "2001:db8:1::/64")
VIPS = ("203.0.113.77", "2001:db8:1::77")
OTHER_RANGES = ("198.51.100.0/24", "2001:db8:2::/64")
OTHERS = ("198.51.100.77", "2001:db8:2::77")
OWN = ("10.0.0.1", "fd00::1")


def _answering(net: Lab, addresses: Iterable[str]) -> set[str]:
    """Ping all at the same time; return those from whom an answer comes."""

    def answers(address: str) -> bool:
        ping = ["ping", "-c1", "-W0.3", address]
        return net.client.run(ping, check=False).returncode == 0

    asked = list(addresses)
    with ThreadPoolExecutor(len(asked)) as pool:
        return {a for a, answer in zip(asked, pool.map(answers, asked), strict=True) if answer}


def test_vips_answer_if_told_to(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    vipctl("add-range", *OTHER_RANGES, "--fwmark", "18", "--ping")
    assert _answering(net, VIPS + OTHERS + OWN) == {*OTHERS, *OWN}


def test_answering_can_be_switched(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    for switch, answering in (("--ping", {*VIPS, *OWN}), ("--no-ping", {*OWN})):
        assert vipctl("set-service", "fwmark-17", switch)["changed"] is True
        assert vipctl("set-service", "fwmark-17", switch)["changed"] is False
        assert _answering(net, VIPS + OWN) == answering


def test_ports_do_not_matter(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", "--port", "tcp/80", "--ping")
    vipctl("add-service", "web", "--ping")
    vipctl("add-range", *OTHER_RANGES, "--service", "web")
    assert _answering(net, VIPS + OTHERS) == {*VIPS, *OTHERS}


def test_shared_vips_answer(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", "--port", "tcp/80", "--ping")
    vipctl("add-range", *RANGES, "--fwmark", "18", "--port", "udp/53", "--ping")
    assert _answering(net, VIPS) == {*VIPS}


def test_conntrack_comes_with_ping_and_goes_with_it(net: Lab, vipctl: Vipctl) -> None:
    def translates() -> bool:
        return "type nat" in net.director.run(["nft", "list", "ruleset"]).stdout

    vipctl("add-range", *RANGES, "--fwmark", "17")
    assert not translates()
    vipctl("set-service", "fwmark-17", "--ping")
    assert translates()
    vipctl("set-service", "fwmark-17", "--no-ping")
    assert not translates()
