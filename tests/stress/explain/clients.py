"""Who asks: hosts of one network, eight of them, as a scheduler may treat each otherwise."""

from collections.abc import Mapping
from typing import NamedTuple

from tests.harness.lab import CLIENT_SOURCES_4, CLIENT_SOURCES_6, Lab
from tests.harness.netns import Namespace

ASLANT = 50  # a routing table of the client's: by eth1, whatever the director answers by


class Client(NamedTuple):
    """Addresses by IP version; `device` is the director's by which their packets arrive."""

    name: str
    sources: Mapping[int, tuple[str, ...]]
    device: str = "eth0"

    def host(self, net: Lab) -> Namespace:
        """Where they are."""
        return net.client if self.device else net.director


def _eight(prefix4: str, prefix6: str, first: int) -> Mapping[int, tuple[str, ...]]:
    numbers = range(first, first + 8)
    return {
        4: tuple(f"{prefix4}.{n}" for n in numbers),
        6: tuple(f"{prefix6}::{n}" for n in numbers),
    }


NEAR = Client("beside the director", {4: CLIENT_SOURCES_4, 6: CLIENT_SOURCES_6})
FAR = Client("behind the default route", _eight("192.0.2", "2001:db8:99", 9))
ASKEW = Client("answered by another way", _eight("198.18.0", "2001:db8:98", 9), "eth1")
BESIDE = Client("beside the real servers", _eight("10.0.1", "fd00:1", 50), "eth1")
ITSELF = Client("the director", {4: ("10.0.0.1",) * 8, 6: ("fd00::1",) * 8}, "")
CLIENTS = (NEAR, FAR, ASKEW, BESIDE, ITSELF)


def prepare(net: Lab) -> None:
    """Give the client all addresses, and each its way to the director, whose router it is, too."""
    for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        net.client.sysctl(name, 1)
    net.client.sysctl("net.ipv4.conf.all.send_redirects", 0)
    commands = [
        f"route add 10.0.1.0/24 dev eth1 table {ASLANT}",
        f"route add default via 10.0.1.1 dev eth1 table {ASLANT}",
        f"route add fd00:1::/64 dev eth1 table {ASLANT}",
        f"route add ::/0 via fd00:1::1 dev eth1 table {ASLANT}",
    ]
    for client in (FAR, ASKEW, BESIDE):
        device = "eth1" if client is BESIDE else "lo"
        commands += [f"address add {a}/32 dev {device}" for a in client.sources[4]]
        commands += [f"address add {a}/128 dev {device} nodad" for a in client.sources[6]]
    net.client.ip(*commands)
    for version in (4, 6):
        aslant = (*ASKEW.sources[version], *BESIDE.sources[version])
        rules = "".join(f"rule add from {source} lookup {ASLANT}\n" for source in aslant)
        net.client.run(["ip", f"-{version}", "-batch", "-"], input=rules)
    net.director.ip("route add default via 10.0.0.2", "route add ::/0 via fd00::2")
