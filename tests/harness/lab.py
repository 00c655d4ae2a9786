"""The standard network of a test: a client, a director and real servers.

         10.0.0.2-9                10.0.0.1   10.0.1.1
         fd00::2-9   eth0     eth0 fd00::1    fd00:1::1   eth1
    client ------------------------- director ----------------+
      |                                                       |
      | eth1                                                  |
      +---------------------- lan (a bridge) -----------------+
        10.0.1.254                |       |
        fd00:1::fe           eth0 |       | eth0
                               real1     real2
                          10.0.1.11     10.0.1.12
                         fd00:1::11    fd00:1::12

The client sends everything through the director. The real servers' default route is the director
(nat) until `accept_vips` makes it the client's second leg (dr and tun), as it would be the router.
"""

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from tests.harness.netns import Namespace, execute
from tests.harness.waiting import wait_until

CLIENT_SOURCES_4 = tuple(f"10.0.0.{host}" for host in range(2, 10))
CLIENT_SOURCES_6 = tuple(f"fd00::{host:x}" for host in range(2, 10))
IFF_RUNNING = 0x40  # linux/if.h
SIOCGIFFLAGS = 0x8913  # linux/sockios.h
IFA_F_TENTATIVE = 0x40  # linux/if_addr.h


@dataclass(frozen=True, slots=True)
class Lab:
    """The hosts of a test."""

    client: Namespace
    director: Namespace
    reals: tuple[Namespace, ...]

    @property
    def hosts(self) -> tuple[Namespace, ...]:
        """All hosts."""
        return (self.client, self.director, *self.reals)

    @property
    def client4(self) -> str:
        """The client's usual IPv4 address."""
        return CLIENT_SOURCES_4[0]

    @property
    def client6(self) -> str:
        """The client's usual IPv6 address."""
        return CLIENT_SOURCES_6[0]

    def real4(self, index: int) -> str:
        """The IPv4 address of a real server, counted from 0."""
        return f"10.0.1.{11 + index}"

    def real6(self, index: int) -> str:
        """The IPv6 address of a real server, counted from 0."""
        return f"fd00:1::{11 + index}"

    def accept_vips(self, real: Namespace, *prefixes: str, tun: bool = False) -> None:
        """Make a real server own VIPs (dr, tun) and answer the client without the director."""
        real.sysctl("net.ipv4.conf.all.arp_ignore", 1)
        if tun:
            _open_tunnel(real)
        real.ip(
            *(f"route add local {prefix} dev lo" for prefix in prefixes),
            "route replace default via 10.0.1.254",
            "route replace ::/0 via fd00:1::fe",
        )


@contextmanager
def lab(reals: int = 2, *, forwarding: bool = True) -> Iterator[Lab]:
    """Build the network, ready for traffic; remove it afterwards."""
    with ExitStack() as stack:
        client, director, lan = (_host(stack, role) for role in ("client", "director", "lan"))
        servers = tuple(_host(stack, f"real{number}") for number in range(1, reals + 1))
        _route(director, forwarding=forwarding)
        _build_lan(lan, (director, client, *servers))
        _build_client(client, director)
        _build_director(director)
        for index, server in enumerate(servers):
            _build_real(server, index)
        hosts = Lab(client, director, servers)
        _settle(hosts)
        yield hosts


def _host(stack: ExitStack, role: str) -> Namespace:
    namespace = Namespace.create(role)
    stack.callback(namespace.close)
    return namespace


def _route(director: Namespace, *, forwarding: bool) -> None:
    for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        director.sysctl(key, int(forwarding))


def _build_lan(lan: Namespace, members: tuple[Namespace, ...]) -> None:
    """Plug each host into the bridge: the first two by eth1, the real servers by eth0."""
    commands = ["link add lan type bridge", "link set lan up"]
    for index, member in enumerate(members):
        device = "eth1" if index < 2 else "eth0"
        peer = f"peer name {device} netns {member.name}"
        commands += [
            f"link add port{index} type veth {peer}",
            f"link set port{index} master lan up",
        ]
    lan.ip(*commands)


def _build_client(client: Namespace, director: Namespace) -> None:
    addresses = (
        *(f"addr add {address}/24 dev eth0" for address in CLIENT_SOURCES_4),
        *(f"addr add {address}/64 dev eth0 nodad" for address in CLIENT_SOURCES_6),
        "addr add 10.0.1.254/32 dev eth1",
        "addr add fd00:1::fe/128 dev eth1 nodad",
    )
    client.ip(
        f"link add eth0 type veth peer name eth0 netns {director.name}",
        "link set eth0 up",
        "link set eth1 up",
        *addresses,
        f"route add default via 10.0.0.1 src {CLIENT_SOURCES_4[0]}",
        f"route add ::/0 via fd00::1 src {CLIENT_SOURCES_6[0]}",
    )


def _build_director(director: Namespace) -> None:
    director.ip(
        "link set eth0 up",
        "link set eth1 up",
        "addr add 10.0.0.1/24 dev eth0",
        "addr add fd00::1/64 dev eth0 nodad",
        "addr add 10.0.1.1/24 dev eth1",
        "addr add fd00:1::1/64 dev eth1 nodad",
    )


def _build_real(real: Namespace, index: int) -> None:
    real.ip(
        "link set eth0 up",
        f"addr add 10.0.1.{11 + index}/24 dev eth0",
        f"addr add fd00:1::{11 + index}/64 dev eth0 nodad",
        "route add default via 10.0.1.1",
        "route add ::/0 via fd00:1::1",
    )


def _open_tunnel(real: Namespace) -> None:
    execute(["modprobe", "ipip"])
    real.ip("link set tunl0 up")
    real.sysctl("net.ipv4.conf.tunl0.rp_filter", 0)


def _settle(hosts: Lab) -> None:
    for host in hosts.hosts:
        wait_until(partial(_is_settled, host), f"{host.name} has its links up")


def _is_settled(host: Namespace) -> bool:
    devices = [line.split(":")[0].strip() for line in host.proc_net("dev").splitlines()[2:]]
    links = [device for device in devices if device.startswith("eth")]
    flags = [int(line.split()[4], 16) for line in host.proc_net("if_inet6").splitlines()]
    tentative = any(flag & IFA_F_TENTATIVE for flag in flags)
    return not tentative and all(_is_running(host, link) for link in links)


def _is_running(host: Namespace, link: str) -> bool:
    with host, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sh14x", link.encode(), 0)
        answer = fcntl.ioctl(handle, SIOCGIFFLAGS, request)
    return bool(struct.unpack("16sh14x", answer)[1] & IFF_RUNNING)


def family(address: str) -> socket.AddressFamily:
    """Return the address family of a textual address."""
    version = ipaddress.ip_address(address).version
    return socket.AF_INET if version == 4 else socket.AF_INET6
