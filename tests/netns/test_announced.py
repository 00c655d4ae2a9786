"""What `announce` prints, at work: the daemons lead packets to a director, and away from it."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.harness.command import Vipctl
from tests.harness.netns import Namespace
from tests.harness.waiting import wait_until
from tests.netns.test_watch import Daemon, watching
from tests.unit.test_announce import GATEWAY, VRRP, hold, ranges

HELD = ("203.0.113.0/24", "2001:db8:1::/64")
NEIGHBORS = ("--neighbor", "10.0.0.1,as=64500", "--neighbor", "fd00::1,as=64500")
LIMIT = 60.0
BASE = """
router id 10.0.0.{};
protocol device {{ scan time 1; }}
protocol kernel {{ ipv4 {{ export all; }}; }}
protocol kernel {{ ipv6 {{ export all; }}; }}
"""
ROUTER = """
protocol bgp {name} {{
    local as 64500;
    neighbor {address} as {number};
    ipv{version} {{ import all; export none; }};
}}
"""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


def host(stack: ExitStack, role: str) -> Namespace:
    found = Namespace.create(role)
    stack.callback(found.close)  # and with it its daemons
    return found


def link(one: Namespace, device: str, other: Namespace, peer: str) -> None:
    one.ip(f"link add {device} type veth peer name {peer} netns {other.name}")
    one.ip(f"link set {device} up")
    other.ip(f"link set {peer} up")


def revive(director: Namespace) -> None:
    director.ip("link add dead type veth peer name dead0", "link set dead0 up", "link set dead up")


def announced(director: Namespace, scratch: Path, *words: str) -> str:
    with director:
        hold(scratch / director.name, ranges(*HELD))
    return snippet(director, scratch, *words)


def accepted(director: Namespace, scratch: Path, *words: str) -> str:
    """The same, of what the director really accepts."""
    vipctl = Vipctl(director, scratch / director.name)
    vipctl("add-range", *HELD, "--fwmark", "17", "--ping")
    return snippet(director, scratch, *words)


def snippet(director: Namespace, scratch: Path, *words: str) -> str:
    done = Vipctl(director, scratch / director.name).text("announce", *words, "--track", "dead")
    assert done.code == 0, done.stderr
    return done.stdout


def start(stack: ExitStack, where: Namespace, argv: list[str]) -> "subprocess.Popen[bytes]":
    with where:
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def bird(stack: ExitStack, where: Namespace, scratch: Path, text: str) -> None:
    file = scratch / f"{where.name}.conf"
    file.write_text(text)
    control = str(scratch / f"{where.name}.ctl")
    start(stack, where, ["bird", "-f", "-c", str(file), "-s", control])


def routes(router: Namespace) -> list[bool]:
    """Whether the router has the route of each of HELD."""
    found = [
        router.run(["ip", f"-{version}", "route", "show", prefix, "proto", "bird"]).stdout
        for version, prefix in zip((4, 6), HELD, strict=True)
    ]
    return list(map(bool, found))


@pytest.mark.parametrize("number", [64512, 64500], ids=["another AS", "the same AS"])
def test_routes_are_withdrawn_with_a_device(stack: ExitStack, tmp_path: Path, number: int) -> None:
    follow_a_device(stack, tmp_path, "bird", number)


def follow_a_device(stack: ExitStack, tmp_path: Path, kind: str, number: int) -> None:
    """The router has the routes as long as the director has the device."""
    router, director = host(stack, "router"), host(stack, "director")
    connect(router, director)
    revive(director)
    words = ("--print", kind, "--local-as", str(number), *NEIGHBORS)
    snippet = announced(director, tmp_path, *words)
    bird(stack, router, tmp_path, BASE.format(1) + sessions(number))
    if kind == "bird":
        bird(stack, director, tmp_path, BASE.format(2) + snippet)
    else:
        frr(stack, director, snippet)
    wait_until(lambda: routes(router) == [True, True], "the router has the routes", LIMIT)
    director.ip("link del dead")
    wait_until(lambda: routes(router) == [False, False], "they are withdrawn", LIMIT)
    revive(director)
    wait_until(lambda: routes(router) == [True, True], "they are announced again", LIMIT)


def connect(router: Namespace, director: Namespace) -> None:
    link(router, "eth0", director, "eth0")
    for where, last in ((router, 1), (director, 2)):
        where.ip(*(f"address add {net}{last}/24 dev eth0 nodad" for net in ("10.0.0.", "fd00::")))


def sessions(number: int) -> str:
    return "".join(
        ROUTER.format(name=f"d{version}", address=address, number=number, version=version)
        for version, address in ((4, "10.0.0.2"), (6, "fd00::2"))
    )


def frr(stack: ExitStack, where: Namespace, text: str) -> None:
    """Without vtysh each daemon reads a file of its own; what it does not know it leaves out."""
    own = Path(stack.enter_context(TemporaryDirectory()))  # its user cannot get at pytest's
    shutil.chown(own, "frr")
    file = own / "frr.conf"
    file.write_text(text)
    for daemon in ("zebra", "staticd", "bgpd"):
        paths = ["-f", str(file), "-i", f"{own}/{daemon}.pid", "--vty_socket", str(own)]
        words = [*paths, "-z", f"{own}/zserv.api", "-A", "127.0.0.1", "-P", "0"]
        start(stack, where, [f"/usr/lib/frr/{daemon}", *words])


def addresses(director: Namespace) -> int:
    """How many of those that VRRP moves it has."""
    text = director.run(["ip", "-o", "address"]).stdout
    return sum(f" {word} " in text for word in (*VRRP, *GATEWAY) if "/" in word)


def test_keepalived_moves_all_addresses_at_once(stack: ExitStack, tmp_path: Path) -> None:
    _, *directors = pair(stack)
    for director, preference in zip(directors, ("primary", "backup"), strict=True):
        revive(director)
        words = (*VRRP, *GATEWAY, "--advert", "0.2", "--preference", preference)
        text = announced(director, tmp_path, "--print", "keepalived", *words)
        keepalived(stack, director, tmp_path / f"{director.name}.conf", text)

    def have(one: int, two: int) -> bool:
        return [addresses(director) for director in directors] == [one, two]

    wait_until(lambda: have(4, 0), "the primary director has the addresses", LIMIT)
    directors[0].ip("link del dead")
    wait_until(lambda: have(0, 4), "the backup has them", LIMIT)
    revive(directors[0])
    wait_until(lambda: have(4, 0), "the primary has them again", LIMIT)


def pair(stack: ExitStack) -> list[Namespace]:
    """The links `out` and `in`, and two directors on them."""
    bridge, directors = host(stack, "bridge"), [host(stack, "one"), host(stack, "two")]
    for device, net in (("out", "10.0.0"), ("in", "10.0.1")):
        bridge.ip(f"link add {device} type bridge", f"link set {device} up")
        for number, director in enumerate(directors, 1):
            link(director, device, bridge, f"{device}{number}")
            bridge.ip(f"link set {device}{number} master {device}")
            director.ip(f"address add {net}.{number}/24 dev {device}")
    return [bridge, *directors]


def keepalived(
    stack: ExitStack, director: Namespace, file: Path, text: str
) -> "subprocess.Popen[bytes]":
    file.write_text(text)
    kinds = {"pid": "", "vrrp_pid": "-vrrp", "checkers_pid": "-checkers"}
    pids = [f"--{kind}={file}{end}.pid" for kind, end in kinds.items()]
    return start(stack, director, ["keepalived", "--dont-fork", "-P", "-f", str(file), *pids])


@contextmanager
def alive(director: Namespace, scratch: Path) -> Iterator[Daemon]:
    """`vipctl watch`, whose device is the one that is tracked."""
    vipctl = Vipctl(director, scratch / director.name)
    with watching(vipctl, scratch / "watch.log", command=("--alive", "dead")) as daemon:
        yield daemon


@contextmanager
def pings(client: Namespace) -> Iterator[list[str]]:
    """A VIP is asked every 50 ms; afterwards, what `ping` says of it."""
    argv = ["ping", "-nq", "-i", "0.05", "203.0.113.7"]
    with client, subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        said: list[str] = []
        try:
            yield said
        finally:
            process.send_signal(signal.SIGINT)
            said += process.communicate(timeout=30)[0].splitlines()


def test_keepalived_follows_the_daemon(stack: ExitStack, tmp_path: Path) -> None:
    """It is there before the device is, and outlives the daemon; no packet is lost."""
    bridge, one, two = pair(stack)
    bridge.ip("address add 10.0.0.9/24 dev out", f"route add {HELD[0]} via 10.0.0.100")
    revive(two)
    for director, preference in ((one, "primary"), (two, "backup")):
        words = (*VRRP, *GATEWAY, "--advert", "0.2", "--preference", preference)
        text = accepted(director, tmp_path, "--print", "keepalived", *words)
        keepalived(stack, director, tmp_path / f"{director.name}.conf", text)

    def chosen(first: int, second: int) -> None:
        having = lambda: (addresses(one), addresses(two)) == (first, second)  # noqa: E731
        wait_until(having, f"they have {first} and {second} addresses", LIMIT)

    chosen(0, 4)
    with alive(one, tmp_path) as daemon, pings(bridge) as said:
        chosen(4, 0)
        daemon.stop(signal.SIGKILL)
        chosen(0, 4)
    assert [line for line in said if " 0% packet loss" in line], said[-3:]
    with alive(one, tmp_path) as daemon:
        chosen(4, 0)
        Vipctl(one, tmp_path / one.name)("deactivate")
        daemon.wait_for("dead is down: this director is passive")
        chosen(0, 4)
        Vipctl(one, tmp_path / one.name)("activate")
        chosen(4, 0)


def test_routes_of_bird_follow_the_daemon(stack: ExitStack, tmp_path: Path) -> None:
    """They go with it, and are announced again by the next one, while BIRD goes on."""
    router, director = host(stack, "router"), host(stack, "director")
    connect(router, director)
    bird(stack, router, tmp_path, BASE.format(1) + sessions(64512))
    words = ("--print", "bird", "--local-as", "64512", *NEIGHBORS)
    bird(stack, director, tmp_path, BASE.format(2) + accepted(director, tmp_path, *words))
    for end in (signal.SIGKILL, signal.SIGTERM):
        with alive(director, tmp_path) as daemon:
            wait_until(lambda: routes(router) == [True, True], "the router has the routes", LIMIT)
            daemon.stop(end)
            wait_until(lambda: routes(router) == [False, False], "they are withdrawn", LIMIT)
