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


def test_gateway_of_ipv4_may_have_an_ipv6_address(net: Lab, vipctl: Vipctl) -> None:
    net.director.run(
        ["ip", "-4", "route", "add", "default", "via", "inet6", "fd00::2", "dev", "eth0"]
    )
    assert "gateway" in _assert_refused(vipctl, "add-range", "fd00::2", "--fwmark", "17")["message"]


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
    net.director.ip("route add 192.0.2.0/24 dev eth0", "route add 2001:db8:f::/64 dev eth0")
    assert vipctl.error(*words, f"--real={real}")[0] == 5
