"""Sites where VRRP chooses one of two directors: of vipctl, and of keepalived alone."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.failover.clients import Stream
from tests.failover.site import PATIENCE, Director, Site
from tests.harness.netns import Namespace
from tests.harness.waiting import wait_until

VIPS = ("203.0.113.7", "2001:db8:1::7")
STEP = 0.02  # seconds between two datagrams
VRRP, GROUP = 112, "224.0.0.18"  # its protocol and its group


@dataclass(frozen=True, slots=True)
class Kind:
    """What the directors run, and the addresses that move with VRRP."""

    name: str
    moving: frozenset[str]
    set_up: Callable[[Site], None]
    start: Callable[[Director], None]
    is_fit: Callable[[Director], bool]  # to take over

    def has_all(self, director: Director) -> bool:
        return self.moving <= director.addresses()

    def chosen(self, director: Director, other: Director) -> None:
        """Waits until VRRP has chosen it, and not the other one."""
        wait_until(
            lambda: self.has_all(director) and not self.moving & other.addresses(),
            f"director {director.number} is the master",
            PATIENCE,
        )

    def power_on(self, one: Director, two: Director) -> None:
        """What it has on its disk brings it back to its place."""
        one.boot()
        self.start(one)
        self.chosen(one, two)


def _set_up_vipctl(here: Site) -> None:
    here.by_next_hop()
    here.set_up("vrrp", "primary", "backup")


def _start_vipctl(director: Director) -> None:
    director.run("vipctl", "restore")
    director.watch()
    director.keepalived()


def _has_device(director: Director) -> bool:
    """Of `vipctl watch`, without which keepalived is in FAULT."""
    shown = director.host.run(["ip", "-oneline", "link", "show", "up", "vipctl0"], check=False)
    return bool(shown.stdout)


def _set_up_keepalived(here: Site) -> None:
    here.router.ip("route add 203.0.113.0/24 dev eth0", "route add 2001:db8:1::/64 dev eth0")
    conf = str(Path(__file__).with_name("alone.conf"))
    for director in here.directors:
        director.run("install", "-D", "-m", "644", conf, "/etc/keepalived/keepalived.conf")


def _start_keepalived(director: Director) -> None:
    for key in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
        director.host.sysctl(f"net.{key}", 1)
    director.keepalived("--config-id", ("primary", "backup")[director.number - 1])


GATEWAYS = {"10.0.1.100/24", "fe80::101/64", "fe80::100/64"}
VIPCTL = Kind(
    "`vrrp/`",
    frozenset({"10.0.0.100/24", *GATEWAYS}),
    _set_up_vipctl,
    _start_vipctl,
    _has_device,
)
KEEPALIVED = Kind(
    "keepalived alone",
    frozenset({"203.0.113.7/32", "2001:db8:1::7/128", *GATEWAYS}),
    _set_up_keepalived,
    _start_keepalived,
    lambda _: True,
)


class Pair:
    """A site of a kind, its first director the master, and datagrams to its VIPs."""

    def __init__(self, kind: Kind, here: Site, stream: Stream) -> None:
        self._kind, self._here, self.stream = kind, here, stream

    def power_off(self) -> dict[str, list[int]]:
        """Of the master, right after it has advertised. Which datagrams are lost."""
        return self.stream.missed(self._off)

    def power_on(self) -> dict[str, list[int]]:
        return self.stream.missed(lambda: self._kind.power_on(*self._here.directors))

    def _off(self) -> None:
        one, _ = self._here.directors
        _hear_vrrp(self._here.router)
        one.power_off()
        sent = self.stream.sent
        wait_until(lambda: self.stream.is_answered(sent), "the other one serves", PATIENCE)


def _hear_vrrp(host: Namespace) -> None:
    """Waits for an advertisement, on the way to what is before the directors."""
    with host, socket.socket(socket.AF_INET, socket.SOCK_RAW, VRRP) as listening:
        group = socket.inet_aton(GROUP) + socket.inet_aton("10.0.0.9")
        listening.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        listening.settimeout(PATIENCE)
        listening.recv(2000)


@contextmanager
def pair(kind: Kind, here: Site) -> Iterator[Pair]:
    kind.set_up(here)
    for director in here.directors:
        kind.start(director)
    wait_until(lambda: all(map(kind.is_fit, here.directors)), "both are fit", PATIENCE)
    kind.chosen(*here.directors)
    stream = Stream(here.client, VIPS, STEP)
    stream.start()
    try:
        wait_until(lambda: stream.is_answered(0), "all are answered", PATIENCE)
        yield Pair(kind, here, stream)
    finally:
        stream.end()
