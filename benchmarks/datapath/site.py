"""A director between a tap, which frames are written to, and a dummy device, where they end."""

import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.datapath.frames import DIRECTOR_MAC
from tests.harness.netns import Namespace, execute

# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
REAL = {4: "10.0.1.11", 6: "fd00:1::11"}
REAL_MAC = "02:00:00:00:00:03"
FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")


class Void(Exception):
    """A measurement that says nothing; says why."""


@dataclass(frozen=True, slots=True)
class Director:
    """The namespace, and a descriptor of its tap."""

    host: Namespace
    tap: int

    def transmitted(self) -> int:
        """Return how many packets have left for the real server or the default gateway."""
        for line in self.host.proc_net("dev").splitlines():
            name, _, numbers = line.partition(":")
            if name.strip() == "real":
                return int(numbers.split()[9])
        raise Void("the dummy device is gone")

    def connections(self) -> int:
        """Return how many connections IPVS has."""
        return len(self.host.proc_net("ip_vs_conn").splitlines()) - 1

    def own(self, addresses: Iterable[str]) -> None:
        """Give the tap these addresses."""
        lines = (f"addr add {a} dev tap{' nodad' if ':' in a else ''}" for a in addresses)
        self.host.ip(*lines)

    def restore_ipvs(self, lines: Iterable[str]) -> None:
        """Add IPVS services and real servers as `ipvsadm --restore` reads them."""
        self.host.run(["ipvsadm", "--restore"], input="\n".join(lines) + "\n")


@contextmanager
def director(*, up: bool = True) -> Iterator[Director]:
    """Build a director that forwards; one whose tap is not `up` takes no packet."""
    for module in ("tun", "dummy", "ip_vs"):
        execute(["modprobe", module])
    host = Namespace.create("director")
    with host:
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"tap", IFF_TAP | IFF_NO_PI))
        if up:
            _configure(host)
        yield Director(host, tap)
    finally:
        os.close(tap)
        host.close()


def _configure(host: Namespace) -> None:
    """Quiet: neither device says anything of its own."""
    for key in FORWARDING:
        host.sysctl(key, 1)
    host.ip(
        f"link set tap address {DIRECTOR_MAC.hex(':')} addrgenmode none multicast off",
        "link add real type dummy",
        "link set real addrgenmode none multicast off",
        "link set tap up",
        "link set real up",
        "addr add 10.0.0.1/24 dev tap",
        "addr add fd00::1/64 dev tap nodad",
        "addr add 10.0.1.1/24 dev real",
        "addr add fd00:1::1/64 dev real nodad",
        f"neigh add {REAL[4]} lladdr {REAL_MAC} dev real nud permanent",
        f"neigh add {REAL[6]} lladdr {REAL_MAC} dev real nud permanent",
        f"route add default via {REAL[4]}",
        f"route add ::/0 via {REAL[6]}",
    )
