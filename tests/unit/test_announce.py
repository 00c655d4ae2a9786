"""What `announce` prints, as BIRD, FRR and keepalived themselves read it."""

import io
import json
import subprocess
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from tests.harness.command import Finished
from tests.harness.netns import Namespace
from tests.unit.committing import commit
from tests.unit.test_aggregates import scattered
from vipctl.addresses.prefixes import AddressSet, from_spans, parse_range
from vipctl.addresses.spans import Spans
from vipctl.cli import run
from vipctl.services import planner
from vipctl.services.change import Change
from vipctl.services.service import Service, made
from vipctl.state.store import Store

Announce = Callable[..., Finished]
READERS = {
    "bird": ("bird", "-p", "-c"),
    "frr": ("vtysh", "-C", "-f"),
    "keepalived": ("keepalived", "--config-test", "-f"),
}
BGP = ("--local-as", "64512", "--neighbor", "10.0.0.1,as=64500", "--neighbor", "fd00::1,as=64512")
VRRP = ("--interface", "out", "--next-hop", "10.0.0.100/24", "--next-hop", "fe80::100/64")
GATEWAY = ("--gateway-interface", "in", "--gateway", "10.0.1.254/24", "--gateway", "fe80::fe/64")
PREFER, PREFERENCES = ("--preference",), ("primary", "backup")
MINIMAL = {"bird": (), "frr": (), "keepalived": VRRP}
FULL = {
    "bird": (*BGP, "--track", "dead"),
    "frr": (*BGP, "--track", "dead"),
    "keepalived": (
        *VRRP,
        *GATEWAY,
        "--track",
        "dead",
        "--advert",
        "0.2",
        "--notify",
        "/run/vipctl/vrrp",
    ),
}
RANGES = ["203.0.113.0/24", "198.51.100.10-198.51.100.99", "2001:db8:1::/64"]


def balanced(name: str, *, fwmark: int = 0x1000, **given: object) -> Service:
    from vipctl.services.real import parse_reals

    return made(name, {"fwmark": fwmark, "reals": parse_reals(["172.16.1.11"]), **given})


@pytest.fixture(scope="module")
def director(host: Namespace) -> Namespace:
    """With the interfaces that snippets name; keepalived looks for them."""
    for name in ("out", "in", "dead"):
        host.run(["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}0"])
        for end in (name, f"{name}0"):
            host.run(["ip", "link", "set", end, "up"])
    host.run(["ip", "address", "add", "192.0.2.1/24", "dev", "out"])
    return host


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def announce(director: Namespace, state: Path) -> Announce:
    def call(kind: str, *words: str) -> Finished:
        stdout, stderr = io.StringIO(), io.StringIO()
        line = ["--state-dir", str(state), "announce", "--print", kind, *words]
        with director, redirect_stdout(stdout), redirect_stderr(stderr):
            code = run(line)
        return Finished(code, stdout.getvalue(), stderr.getvalue())

    return call


def hold(state: Path, held: AddressSet, *services: Service) -> None:
    """Stores services, the first of which holds all of it."""
    first, *others = services or (balanced("web"),)
    with Store.open(state) as store:
        commit(store, planner.take(store, None, first, held))
        commit(store, Change(after=tuple(others)))


def ranges(*texts: str) -> AddressSet:
    return from_spans(map(parse_range, texts or RANGES))


def check(kind: str, text: str, director: Namespace, tmp_path: Path) -> None:
    """Has the daemon's own parser read a snippet: BIRD's is included, and needs an identity."""
    file = tmp_path / f"vipctl-{kind}.conf"
    file.write_text(text)
    if kind == "bird":
        whole = tmp_path / "bird.conf"
        whole.write_text(f'router id 10.0.0.2;\nprotocol device {{}}\ninclude "{file}";\n')
        file = whole
    with director:
        done = subprocess.run(
            [*READERS[kind], str(file)], capture_output=True, text=True, check=False
        )
    said = [line for line in (done.stdout + done.stderr).splitlines() if line]
    assert (done.returncode, said) == (0, []), text


@pytest.mark.parametrize("given", [MINIMAL, FULL], ids=["minimal", "full"])
@pytest.mark.parametrize("preference", ["primary", "backup"])
@pytest.mark.parametrize("kind", READERS)
def test_daemons_read_it(
    kind: str,
    preference: str,
    given: dict[str, tuple[str, ...]],
    announce: Announce,
    director: Namespace,
    state: Path,
    tmp_path: Path,
) -> None:
    hold(state, ranges())
    words = (*given[kind], *PREFER, preference, "--max-routes", "3")
    done = announce(kind, *words)
    assert done.code == 0, done.stderr
    check(kind, done.stdout, director, tmp_path)
    assert done.stdout == announce(kind, *words).stdout
    assert done.stdout.splitlines()[0].startswith(("# Made by vipctl", "! Made by vipctl"))
    assert "203.0.113.0/24" in done.stdout
    assert "2001:db8:1::/64" in done.stdout


@pytest.mark.parametrize("kind", READERS)
def test_daemons_refuse_what_they_would(kind: str, director: Namespace, tmp_path: Path) -> None:
    """Or the test above would show nothing."""
    with pytest.raises(AssertionError):
        check(kind, "vrrp_instance a {\n priorty 1\n}\n", director, tmp_path)


def test_bird_has_what_was_found_necessary(announce: Announce, state: Path) -> None:
    hold(state, ranges())
    text = announce("bird", *BGP, "--track", "vipctl0").stdout
    assert '    route 203.0.113.0/24 via "vipctl0";' in text
    for setting in (
        "hold time 9;", "error wait time 1, 3;", "connect retry time 2;", "connect delay time 1;",
        "graceful restart off;", "bfd on;", "import none;",
    ):  # fmt: skip
        assert text.count(f"    {setting}\n") == len(BGP) // 2 - 1, setting
    assert "    route 203.0.113.0/24 blackhole;" in announce("bird").stdout
    assert "bfd" not in announce("bird", *BGP, "--no-bfd").stdout


def test_a_backup_is_worse_to_neighbours_inside_and_outside(
    announce: Announce, state: Path
) -> None:
    hold(state, ranges())
    for kind, prepended, preferred in [
        ("bird", "bgp_path.prepend(64512);", "bgp_local_pref = 50;"),
        ("frr", "set as-path prepend 64512 64512 64512", "set local-preference 50"),
    ]:
        primary, backup = (announce(kind, *BGP, *PREFER, p).stdout for p in PREFERENCES)
        assert prepended in backup
        assert preferred in backup
        assert prepended not in primary
        assert preferred not in primary
    priorities = [announce("keepalived", *VRRP, *PREFER, p).stdout for p in PREFERENCES]
    assert ["priority 150" in text for text in priorities] == [True, False]


def test_keepalived_changes_next_hop_and_gateway_together(announce: Announce, state: Path) -> None:
    hold(state, ranges())
    done = announce("keepalived", *FULL["keepalived"])
    assert not done.stderr
    group = done.stdout.partition("vrrp_sync_group vipctl {")[2].partition("}")[0]
    names = {line.split()[1] for line in done.stdout.splitlines() if "vrrp_instance" in line}
    assert set(group.split()[2:]) == names
    assert len(names) == 4
    assert "dynamic_interfaces allow_if_changes" in done.stdout
    assert "vrrp_garp_lower_prio_repeat 3" in done.stdout
    assert "#   203.0.113.0/24 via 10.0.0.100" in done.stdout
    assert "#   2001:db8:1::/64 via fe80::100" in done.stdout
    assert "(--gateway)" in announce("keepalived", *VRRP).stderr


def test_what_no_service_has_does_not_go_back(announce: Announce, state: Path) -> None:
    hold(state, ranges("203.0.113.1", "203.0.113.200", "198.51.100.0/24"))
    text = announce("keepalived", *VRRP, "--max-routes", "2").stdout
    assert "blackhole 203.0.113.0/24 no_track" in text
    assert "blackhole 198" not in text
    assert "2 routes; 254 of their addresses are of no service." in text
    assert "virtual_routes" not in announce("keepalived", *VRRP).stdout


def test_what_others_have_is_not_announced(announce: Announce, state: Path) -> None:
    hold(state, ranges("192.0.2.0", "192.0.2.130", "10.0.0.1", "10.0.2.1"))
    done = announce("bird", "--max-routes", "2")
    assert done.code == 3
    assert "would hold 192.0.2.1, an address of this director" in done.stderr
    assert announce("bird", "--max-routes", "3").code == 3
    assert announce("bird", "--max-routes", "4").code == 0
    hold_only(state, "10.0.0.0", "10.0.0.8")
    done = announce("bird", "--max-routes", "1", *BGP)
    assert "would hold 10.0.0.1, a router's" in done.stderr


def hold_only(state: Path, *texts: str) -> None:
    with Store.open(state) as store:
        for service in list(store.services().values()):
            commit(store, planner.end(store, service))
    hold(state, ranges(*texts))


def test_a_hundred_thousand_addresses(announce: Announce, state: Path) -> None:
    (v4, blocks), (v6, _) = scattered(4), scattered(6)
    hold(state, AddressSet(v4, Spans(6)))
    found = json.loads(announce("bird", "--max-routes", "40", "--json").stdout)
    assert found["routes"] == blocks
    assert found["addresses_of_no_service"] == 40 * 65536 - v4.size()
    hold_only(state, "203.0.113.1")
    hold_v6 = AddressSet(Spans(4), v6)
    with Store.open(state) as store:
        commit(store, planner.take(store, None, balanced("six", fwmark=9), hold_v6))
    assert len(json.loads(announce("frr", "--json").stdout)["routes"]) <= 1001


def test_equal_directors_and_nat_do_not_go_together(announce: Announce, state: Path) -> None:
    hold(state, ranges(), balanced("web"))
    done = announce("bird", *BGP, "--preference", "equal")
    assert done.code == 3
    assert "'web' forwards by nat" in done.stderr


def test_connections_of_equal_directors_need_the_same_choice_everywhere(
    announce: Announce, state: Path
) -> None:
    from vipctl.services.syntax import parse_scheduler
    from vipctl.services.values import Forward

    mh = balanced("mh", forward=Forward.DR, scheduler=parse_scheduler("mh,port"))
    rr = balanced("rr", forward=Forward.DR, fwmark=7)
    hold(state, ranges(), mh, rr)
    said = announce("bird", *BGP, "--preference", "equal").stderr
    assert "service 'mh'" in said
    assert "service 'rr'" in said
    with Store.open(state) as store:
        commit(store, Change(director=({}, {"sloppy_tcp": True})))
    said = announce("bird", *BGP, "--preference", "equal").stderr
    assert "service 'mh'" not in said
    assert "service 'rr'" in said


LOCAL = """
preference: backup
local_as: 64512
neighbors: ["10.0.0.1,as=64500"]
bfd: false
"""


def test_settings_come_from_a_file_and_the_line_precedes(
    announce: Announce, state: Path, tmp_path: Path
) -> None:
    hold(state, ranges())
    file = tmp_path / "ha.yml"
    file.write_text(LOCAL)
    done = announce("bird", "--local", str(file))
    assert "prepend" in done.stdout
    assert "bfd" not in done.stdout
    assert "nobody is told the IPv6 routes" in done.stderr
    done = announce("bird", "--local", str(file), "--preference", "primary", "--bfd")
    assert "prepend" not in done.stdout
    assert "bfd on;" in done.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("role: backup\n", "role: Extra inputs are not permitted"),
        ("preference: master\n", "preference: "),
        ("vrid: 255\n", "vrid: "),
        ("neighbors: [10.0.0.1]\n", "neighbors.0: '10.0.0.1' is not a neighbour"),
        ("interface: 'out; include'\n", "interface: 'out; include' is not an interface"),
        ("", "ha.yml: "),
    ],
)
def test_a_wrong_file(
    text: str, said: str, announce: Announce, state: Path, tmp_path: Path
) -> None:
    hold(state, ranges())
    file = tmp_path / "ha.yml"
    file.write_text(text)
    done = announce("bird", "--local", str(file))
    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("bird", "--neighbor", "10.0.0.1"), 2, "10.0.0.1,as=64500"),
        (("bird", "--neighbor", "127.0.0.1,as=1"), 3, "loopback"),
        (("bird", "--neighbor", "10.0.0.1,as=1"), 2, "--local-as"),
        (("frr", "--local-as", "4294967295"), 2, "not a AS number"),
        (("keepalived",), 2, "--interface"),
        (("keepalived", "--interface", "o/t"), 2, "not an interface"),
        (("keepalived", "--interface", "out"), 2, "--next-hop 10.0.0.100/24"),
        (("keepalived", *VRRP[:4]), 2, "--next-hop fe80::100/64"),
        (("keepalived", *VRRP[:4], "--next-hop", "fd00::1/64"), 2, "link-local"),
        (("keepalived", *VRRP, "--next-hop", "10.0.0.7"), 2, "such as 10.0.0.7/24"),
        (("keepalived", *VRRP, "--notify", "/run/a b"), 2, "such as /run/vipctl/vrrp"),
        (("keepalived", *VRRP, "--notify", "/run/a\n}"), 2, "such as /run/vipctl/vrrp"),
        (("keepalived", *VRRP, "--notify", "fifo"), 2, "such as /run/vipctl/vrrp"),
        (("keepalived", *VRRP, *GATEWAY[2:]), 2, "--gateway-interface"),
        (("keepalived", *VRRP, "--preference", "equal"), 2, "one director gets the packets"),
        (("keepalived", *VRRP, "--advert", "0"), 2, "not a time"),
        (("bird", "--max-routes", "1"), 3, "allow more: --max-routes 2"),
        (("bird", "--local", "/nonexistent"), 2, "cannot read"),
        (("quagga",), 2, "quagga"),
    ],
)
def test_wrong_words(
    words: tuple[str, ...], code: int, said: str, announce: Announce, state: Path
) -> None:
    hold(state, ranges("203.0.113.0/24", "10.9.0.0/24", "2001:db8::/64"))
    done = announce(*words)
    assert (done.code, done.stdout) == (code, "")
    assert said in done.stderr
    assert "hint: " in done.stderr


def test_nothing_to_announce(announce: Announce) -> None:
    done = announce("bird")
    assert done.code == 3
    assert "no service has a range" in done.stderr
