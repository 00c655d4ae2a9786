"""What would cut the director off, or is somebody else's, is refused: exit 3 and what to do."""

from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns import snapshot
from tests.netns.processes import run

SSH = "192.0.2.55 50000 10.0.0.1 22"
SSH6 = "2001:db8:5::55 50000 fd00::1 22"
OWNERS = {
    "10.0.0.1": "an address of this director",
    "10.0.1.1": "an address of this director",
    "fd00::1": "an address of this director",
    "10.0.0.2": "the default gateway",
    "10.0.0.3": "the default gateway",
    "fd00::2": "the default gateway",
    "192.0.2.55": "the peer of your SSH connection",
}


def _assert_refused(vipctl: Vipctl, *words: str) -> dict[str, str]:
    """Return the error of a command that is refused and changes nothing."""
    before = snapshot.kernel(vipctl.host), vipctl("export")
    code, error = vipctl.error(*words)
    assert (code, error["kind"]) == (3, "refused"), error
    assert error["hint"]
    assert (snapshot.kernel(vipctl.host), vipctl("export")) == before
    return error


@pytest.fixture
def _connected(net: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A director with default routes, and an operator who came by SSH."""
    net.director.ip(
        "route add default nexthop via 10.0.0.2 nexthop via 10.0.0.3",
        "route add ::/0 via fd00::2",
    )
    monkeypatch.setenv("SSH_CONNECTION", SSH)


@pytest.mark.usefixtures("_connected")
@pytest.mark.parametrize("address", OWNERS)
def test_precious_addresses(vipctl: Vipctl, address: str) -> None:
    around = f"{address[:-1]}0/{'112' if ':' in address else '28'}"
    for precious in (address, around.replace(".50/28", ".48/28")):
        error = _assert_refused(vipctl, "add-range", precious, "--fwmark", "17")
        assert "--force" in error["hint"]
    error = _assert_refused(vipctl, "add-range", address, "--fwmark", "17")
    assert OWNERS[address] in error["message"]
    assert address in error["message"]
    assert vipctl("add-range", address, "--fwmark", "17", "--force")["changed"] is True
    assert vipctl("add-range", address, "--fwmark", "17")["changed"] is False


@pytest.mark.usefixtures("_connected")
def test_neighbours_of_precious_addresses_are_free(vipctl: Vipctl) -> None:
    ranges = ["10.0.0.4/30", "10.0.1.2-10.0.1.254", "fd00::4-fd00::ffff", "192.0.2.0/27"]
    assert vipctl("add-range", *ranges, "--fwmark", "17")["changed"] is True


NEXTHOPS = [
    "nexthop add id 1 via 10.0.0.2 dev eth0",
    "nexthop add id 2 via fd00::3 dev eth0",
    "nexthop add id 3 group 1/2",
    "-4 route add default nhid 3",
    "-6 route add default nhid 2",
]
# How a director may have come by its gateways, and all of them.
GATEWAYS = [
    (["-4 route add blackhole 0.0.0.0/8", "-4 route add default via 10.0.0.2"], ["10.0.0.2"]),
    (["-6 route add unreachable 100::/64", "-6 route add default via fd00::2"], ["fd00::2"]),
    (["-4 route add default via inet6 fd00::2 dev eth0"], ["fd00::2"]),
    (
        [
            "-4 route add default via 10.0.0.2 metric 5",
            "-4 route add default via 10.0.0.3 metric 9",
            "-4 route add default via 10.0.0.4 tos 0x10",
        ],
        ["10.0.0.2", "10.0.0.3", "10.0.0.4"],
    ),
    (
        [
            "-4 route add default nexthop via 10.0.0.2 "
            "nexthop via inet6 fd00::3 dev eth0 nexthop via 10.0.1.2",
        ],
        ["10.0.0.2", "fd00::3", "10.0.1.2"],
    ),
    (
        [
            "-6 route add default nexthop via fd00::2 dev eth0 nexthop via fd00:1::2 dev eth1",
            "-6 route append default via fd00::4 dev eth0",
        ],
        ["fd00::2", "fd00:1::2", "fd00::4"],
    ),
    (NEXTHOPS, ["10.0.0.2", "fd00::3"]),
    (
        ["rule add pref 100 from 10.9.0.0/16 lookup 99", "route add default via 10.0.0.5 table 99"],
        ["10.0.0.5"],
    ),
    (
        [
            "-6 rule add pref 100 iif eth1 lookup 9999",
            "-6 route add default via fd00::5 table 9999",
        ],
        ["fd00::5"],
    ),
]


@pytest.mark.parametrize(("commands", "gateways"), GATEWAYS)
def test_every_default_gateway(
    net: Lab, vipctl: Vipctl, commands: list[str], gateways: list[str]
) -> None:
    for command in commands:
        net.director.run(["ip", *command.split()])
    for gateway in gateways:
        error = _assert_refused(vipctl, "add-range", gateway, "--fwmark", "17")
        assert "the default gateway" in error["message"]


def test_default_gateways_that_a_route_does_not_say(net: Lab, vipctl: Vipctl) -> None:
    """It names an object alone."""
    net.director.sysctl("net.ipv4.nexthop_compat_mode", 0)
    test_every_default_gateway(net, vipctl, NEXTHOPS, ["10.0.0.2", "fd00::3"])


@pytest.mark.parametrize(
    "command",
    [
        "route add 198.51.100.0/24 via 10.0.0.2",
        "route add blackhole default",
        "route add default dev eth0",
        "route add default via 10.0.0.2 table 99",
        "-6 route add default dev eth0",
        "-6 route add 2000::/3 via fd00::2",
    ],
)
def test_other_gateways_may_be_vips(net: Lab, vipctl: Vipctl, command: str) -> None:
    net.director.run(["ip", *command.split()])
    assert vipctl("add-range", "10.0.0.2", "fd00::2", "--fwmark", "17")["changed"] is True


def test_apply_refuses_them_too(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    file = tmp_path / "state.yaml"
    file.write_text("services: {fwmark-17: {ranges: [10.0.0.0/24]}}")
    assert "10.0.0.1" in _assert_refused(vipctl, "apply", str(file))["message"]
    assert vipctl("apply", str(file), "--force")["changed"] is True


@pytest.mark.parametrize("peer", [SSH, SSH6])
def test_sudo_hides_the_ssh_peer_from_its_command_only(vipctl: Vipctl, peer: str) -> None:
    """An ancestor still has it in its environment."""
    shell = (
        "env",
        f"SSH_CONNECTION={peer}",
        "sh",
        "-c",
        'env -u SSH_CONNECTION "$@"; exit $?',
        "-",
    )
    words = ("add-range", peer.split(maxsplit=1)[0], "--fwmark", "17")
    code, printed = run(vipctl, *words, before=shell)
    assert (code, "SSH" in str(printed)) == (3, True), printed
    code, printed = run(vipctl, *words, before=("env", "-u", "SSH_CONNECTION"))
    assert code == 0, printed


def test_real_servers(vipctl: Vipctl) -> None:
    """With --force it fails later, for want of IPVS."""
    words = ["add-range", "10.9.0.0/24", "fd09::/64", "--service", "web", "--real"]
    for real in ("10.9.0.5", "fd09::5"):
        assert real in _assert_refused(vipctl, *words, real)["message"]
        assert vipctl.error(*words, real, "--force")[0] == 5
    vipctl("add-range", "10.9.0.0/24", "--fwmark", "17")
    assert (
        "10.9.0.5" in _assert_refused(vipctl, "add-service", "web", "--real", "10.9.0.5")["message"]
    )


@pytest.mark.parametrize(
    ("reserved", "what"),
    [
        ("127.0.0.1", "loopback"),
        ("126.0.0.0-128.0.0.0", "loopback"),
        ("224.0.0.0/4", "multicast"),
        ("239.1.2.3", "multicast"),
        ("169.254.1.0/24", "link-local"),
        ("255.255.255.255", "broadcast"),
        ("0.0.0.0/0", "every address"),
        ("0.0.0.0", "this network"),
        ("::/0", "every address"),
        ("::1", "loopback"),
        ("fe80::/64", "link-local"),
        ("ff02::1", "multicast"),
        ("::ffff:203.0.113.1", "IPv4-mapped"),
        ("203.0.113.1/24", "host bits"),
        ("2001:db8::1/64", "host bits"),
    ],
)
def test_ranges_that_can_never_be_vips(vipctl: Vipctl, reserved: str, what: str) -> None:
    for force in ([], ["--force"]):
        error = _assert_refused(vipctl, "add-range", reserved, "--fwmark", "17", *force)
        assert what in error["message"]
    assert not vipctl.state_dir.exists()


def test_what_another_service_holds(vipctl: Vipctl) -> None:
    vipctl("add-range", "203.0.113.0/24", "2001:db8:1::/64", "--fwmark", "17")
    for taken in ("203.0.113.0/24", "203.0.113.255", "203.0.112.0/22", "2001:db8:1::5"):
        error = _assert_refused(vipctl, "add-range", taken, "--fwmark", "18", "--force")
        assert "'fwmark-17'" in error["message"]
        assert "'fwmark-18'" in error["message"]


@pytest.mark.parametrize(
    ("option", "value"),
    [("--port", "tcp/80"), ("--leftover", "drop"), ("--ping", ""), ("--fwmark", "19")],
)
def test_options_other_than_the_stored_ones(vipctl: Vipctl, option: str, value: str) -> None:
    vipctl("add-service", "web")
    words = ["add-range", "203.0.113.0/24", "--service", "web", *filter(None, (option, value))]
    error = _assert_refused(vipctl, *words)
    assert "set-service web" in error["hint"]


def test_other_real_servers_than_the_stored_ones(vipctl: Vipctl) -> None:
    vipctl("add-service", "web")
    words = ["add-range", "203.0.113.0/24", "--service", "web", "--real", "10.0.1.11"]
    assert "add-real web" in _assert_refused(vipctl, *words)["hint"]


def test_marks_of_other_services(vipctl: Vipctl) -> None:
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")
    _assert_refused(vipctl, "add-service", "web", "--fwmark", "17")
    vipctl("add-service", "web")
    _assert_refused(vipctl, "set-service", "web", "--fwmark", "17")
    _assert_refused(vipctl, "add-range", "192.0.2.0/24", "--fwmark", str(0x1000))


@pytest.mark.parametrize("real", ["192.0.2.7", "2001:db8:f::7"])
def test_dr_needs_real_servers_of_a_connected_network(net: Lab, vipctl: Vipctl, real: str) -> None:
    """A gateway would send what is still for the VIP back: 33 times, until its TTL ends.

    What is not refused fails later, for want of IPVS.
    """
    net.director.ip("route add default via 10.0.0.2", "route add ::/0 via fd00::2")
    words = ["add-service", "web", "--real=10.0.0.7", "--real=fd00::7", "--forward=dr"]
    assert vipctl.error(*words)[0] == 5
    error = _assert_refused(vipctl, *words, f"--real={real}")
    assert real in error["message"]
    assert ("fd00::2" if ":" in real else "10.0.0.2") in error["message"]
    for option in ("--forward=tun", "--forward=nat", "--force"):
        assert vipctl.error(*words, f"--real={real}", option)[0] == 5
    assert vipctl.error(*words, f"--real={real},forward=tun")[0] == 5
    _assert_refused(vipctl, "add-service", "web", f"--real={real},forward=dr")
    net.director.ip("route add 192.0.2.0/24 dev eth0", "route add 2001:db8:f::/64 dev eth0")
    assert vipctl.error(*words, f"--real={real}")[0] == 5


@pytest.mark.parametrize("own", ["10.0.0.1", "fd00::1"])
def test_only_nat_reaches_the_director_itself(vipctl: Vipctl, own: str) -> None:
    """What is not refused fails later, for want of IPVS."""
    for forward in ("dr", "tun"):
        words = [f"--real={own},forward={forward}", "--real=10.0.1.11"]
        assert own in _assert_refused(vipctl, "add-service", "web", *words)["message"]
        words = [f"--forward={forward}", f"--real={own},forward=nat", "--force"]
        assert vipctl.error("add-service", "web", *words)[0] == 5
