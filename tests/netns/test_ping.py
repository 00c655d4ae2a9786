"""Echo requests for a VIP are answered where the service says so, and nowhere else."""

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns.addresses import OTHER_RANGES, OTHERS, OWN, RANGES, VIPS
from tests.netns.pings import answering


def test_vips_answer_if_told_to(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    vipctl("add-range", *OTHER_RANGES, "--fwmark", "18", "--ping")
    assert answering(net, VIPS + OTHERS + OWN) == {*OTHERS, *OWN}


def test_answering_can_be_switched(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    for switch, hosts in (("--ping", {*VIPS, *OWN}), ("--no-ping", {*OWN})):
        assert vipctl("set-service", "fwmark-17", switch)["changed"] is True
        assert vipctl("set-service", "fwmark-17", switch)["changed"] is False
        assert answering(net, VIPS + OWN) == hosts


def test_ports_do_not_matter(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", "--port", "tcp/80", "--ping")
    vipctl("add-service", "web", "--ping")
    vipctl("add-range", *OTHER_RANGES, "--service", "web")
    assert answering(net, VIPS + OTHERS) == {*VIPS, *OTHERS}


def test_shared_vips_answer(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", "--port", "tcp/80", "--ping")
    vipctl("add-range", *RANGES, "--fwmark", "18", "--port", "udp/53", "--ping")
    assert answering(net, VIPS) == {*VIPS}


def test_conntrack_comes_with_ping_and_goes_with_it(net: Lab, vipctl: Vipctl) -> None:
    def translates() -> bool:
        return "type nat" in net.director.run(["nft", "list", "ruleset"]).stdout

    vipctl("add-range", *RANGES, "--fwmark", "17")
    assert not translates()
    vipctl("set-service", "fwmark-17", "--ping")
    assert translates()
    vipctl("set-service", "fwmark-17", "--no-ping")
    assert not translates()
