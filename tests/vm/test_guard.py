"""The leftover guard beside IPVS: a director's own listeners are nobody's behind a VIP."""

from pathlib import Path

import pytest

from tests.harness import module
from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import Outcome, tcp_get, udp_ask
from tests.netns import neighbours
from tests.vm.observe import at_once, ipvs, outcomes, tcp, udp

VIP4, VIP6 = "203.0.113.7", "2001:db8:1::7"
OWN4, OWN6 = "10.0.0.1", "fd00::1"
RANGES = ("203.0.113.0/24", "2001:db8:1::/64")
REALS = ("--real=10.0.1.11", "--real=fd00:1::11")


@pytest.mark.parametrize("ports", [[], ["--port=tcp/80", "--port=udp/80"]])
def test_the_directors_listeners_are_unreachable_through_vips(
    net: Lab, vipctl: Vipctl, ports: list[str]
) -> None:
    vipctl("add-range", *RANGES, "--service", "web", *REALS, *ports)
    found = outcomes(net.client, [VIP4, VIP6, OWN4, OWN6], 22)
    assert found[OWN4] == found[OWN6] == ("director", "director")
    assert "director" not in (*found[VIP4], *found[VIP6])
    assert found[VIP4][0] == found[VIP6][0] == "refused"
    dns = [udp_ask(net.client, vip, 53) for vip in (VIP4, VIP6, OWN4, OWN6)]
    by_guard = ["", ""] if ports else ["real1", "real1"]
    assert [reply.server for reply in dns] == [*by_guard, "director", "director"]
    assert tcp(net.client, [VIP4, VIP6] * 2)["real1"] == 4


def test_drop_is_silent(net: Lab, vipctl: Vipctl) -> None:
    only80 = ("--port=tcp/80", "--leftover=drop")
    vipctl("add-range", *RANGES, "--service", "web", *REALS, *only80)
    silent = ("timeout", "timeout")
    assert outcomes(net.client, [VIP4, VIP6], 22) == {VIP4: silent, VIP6: silent}
    assert tcp(net.client, [VIP4, VIP6])["real1"] == 2


def test_a_real_server_on_the_director_works_with_nat(net: Lab, vipctl: Vipctl) -> None:
    reals = ("--real=10.0.1.1:53", "--real=[fd00:1::1]:53", "--real=10.0.1.11", "--real=fd00:1::11")
    vipctl("add-range", *RANGES, "--service", "web", *reals, "--scheduler", "rr")
    for vip in (VIP4, VIP6):
        for ask in (tcp, udp):
            assert ask(net.client, [vip] * 4) == {"director": 2, "real1": 2}
    assert outcomes(net.client, [OWN4], 22) == {OWN4: ("director", "director")}


def test_a_real_server_on_the_director_is_refused_otherwise(
    net: Lab, vipctl: Vipctl, tmp_path: Path
) -> None:
    file = tmp_path / "file.yaml"
    file.write_text("services: {web: {forward: dr, reals: [10.0.1.1]}}\n")
    vipctl("add-range", VIP4, "--service=web", "--real=10.0.1.1")
    vipctl("add-service", "tunnels", "--real=10.0.1.11", "--forward=tun")
    before = ipvs(net.director)
    for words in (
        ["add-range", VIP6, "--service=new", "--real=fd00:1::1", "--forward=dr"],
        ["set-service", "web", "--forward=tun"],
        ["add-real", "tunnels", "10.0.0.1"],
        ["apply", str(file)],
    ):
        code, error = vipctl.error(*words)
        assert (code, error["kind"]) == (3, "refused")
        assert "nat" in error["hint"]
    assert ipvs(net.director) == before


def test_a_service_without_real_servers_refuses_at_once(net: Lab, vipctl: Vipctl) -> None:
    """An ICMP unreachable of an IPv4 VIP cannot be sent; a TCP reset can."""
    vipctl("add-service", "web")
    done = vipctl("add-range", *RANGES, "--service", "web")
    assert len(done["warnings"]) == 2
    assert ipvs(net.director) == set()
    assert outcomes(net.client, [VIP4, VIP6], 22) == {
        VIP4: ("refused", "timeout"),
        VIP6: ("refused", "refused"),
    }
    done = vipctl("add-real", "web", "10.0.1.11")
    assert ["IPv6" in warning for warning in done["warnings"]] == [True, False]
    assert outcomes(net.client, [VIP4, VIP6], 53) == {
        VIP4: ("real1", "real1"),
        VIP6: ("refused", "refused"),
    }


def test_all_real_servers_drained(net: Lab, vipctl: Vipctl) -> None:
    """IPVS itself answers then."""
    vipctl("add-range", *RANGES, "--service", "web", *REALS)
    vipctl("drain-real", "web", "10.0.1.11", "fd00:1::11")
    replies = at_once(
        lambda: tcp_get(net.client, VIP4, 80, timeout=2),
        lambda: tcp_get(net.client, VIP6, 80, timeout=2),
        lambda: udp_ask(net.client, VIP4, 80, timeout=2),
        lambda: udp_ask(net.client, VIP6, 80, timeout=2),
    )
    assert [reply.outcome for reply in replies] == [
        Outcome.TIMEOUT,
        Outcome.REFUSED,
        Outcome.TIMEOUT,
        Outcome.REFUSED,
    ]


def test_ping(net: Lab, vipctl: Vipctl) -> None:
    """Answered by the director, and no obstacle to balancing, for all its connection tracking."""
    vipctl("add-range", *RANGES, "--service=web", *REALS, "--ping", "--set-sysctls")
    for vip in (VIP4, VIP6):
        net.client.run(["ping", "-c1", "-W2", vip])
        assert tcp(net.client, [vip] * 2)["real1"] == 2
        assert udp(net.client, [vip] * 2, nbytes=4000)["real1"] == 2


def test_an_own_address_that_is_a_vip_finds_its_neighbours(net: Lab, vipctl: Vipctl) -> None:
    with module.loaded():
        vipctl("add-range", neighbours.RANGE, "--fwmark=17", "--method=shim")
        assert neighbours.finds(net)
        vipctl("remove-service", "fwmark-17")
