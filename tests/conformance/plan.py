"""Which addresses belong to which kind of service, and how vipctl is told about it. Pure.

A method has several services at the same time, each with VIPs of its own:

    all      every port
    ports    two on the same VIPs: tcp/80 has the first server, udp/53 the second
    idle     no server for the IP version of its VIPs
    back     its real servers answer through the director (dr)
    subnet   VIPs that lie inside the subnet between the client and the director
    arp      with --arp
    pinged   with --ping
    ftp      the port of FTP's control connection (nat)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Any

from tests.conformance.cell import FORWARDINGS, IPVS, PROXY, VERSIONS, Cell

Fields = dict[str, Any]
KINDS = ("all", "ports", "idle", "back", "subnet", "arp", "pinged", "ftp")
REALS = {4: ("10.0.1.11", "10.0.1.12"), 6: ("fd00:1::11", "fd00:1::12")}
FIRST, SECOND, NOBODY = 8080, 8081, 8099  # where local listeners are, and where none is
EXTRA: dict[str, Fields] = {"arp": {"arp": True}, "pinged": {"ping": True}}
SUBNET_SIZE = 30  # VIPs


@dataclass(frozen=True, slots=True)
class Order:
    """A service that a kind consists of: its name, and its fields as `vipctl apply` reads them."""

    name: str
    fields: Fields

    def words(self) -> list[str]:
        """Return the arguments of the add-range that creates it."""
        options = [word for key in self.fields for word in _words(key, self.fields[key])]
        return [*self.fields["ranges"], f"--service={self.name}", *options]


def _words(key: str, value: Any) -> list[str]:
    if key == "ranges":
        return []
    if isinstance(value, list):
        return [f"--{key.removesuffix('s')}={each}" for each in value]
    name = key.replace("_", "-")
    return [f"--{name}"] if value is True else [f"--{name}={value}"]


def prefix(kind: str, forwarding: str, version: int) -> str:
    """Return the range of a service."""
    number = FORWARDINGS.index(forwarding)
    if kind == "subnet":
        return f"10.0.0.{128 + 32 * number}/27" if version == 4 else f"fd00::{number + 1}:0/112"
    place = KINDS.index(kind) * len(FORWARDINGS) + number
    if version == 6:
        return f"2001:db8:{place + 1:x}::/64"
    return str(IPv4Network((int(IPv4Address("198.18.0.0")) + (place << 12), 20)))


def vip(kind: str, cell: Cell) -> str:
    """Return the VIP that this cell alone uses."""
    address, _, _ = prefix(kind, cell.forwarding, cell.version).partition("/")
    offset = 1 + cell.serial % SUBNET_SIZE if kind == "subnet" else cell.serial
    return str(ip_address(address) + offset)


def inside_subnet(version: int) -> Iterator[str]:
    """Return the ranges that lie inside the client's subnet."""
    for forwarding in FORWARDINGS:
        yield prefix("subnet", forwarding, version)


def owned_by_reals(version: int) -> Iterator[tuple[str, bool]]:
    """Return the ranges that real servers accept, and whether they answer past the director."""
    for kind in KINDS:
        for forwarding in IPVS[1:]:
            yield prefix(kind, forwarding, version), kind != "back"


def orders(method: str, kind: str, forwarding: str) -> list[Order]:
    """Return the services to ask vipctl for."""
    name = f"{kind}-{forwarding}"
    if kind == "idle":
        return [_idle(method, name, forwarding, version) for version in VERSIONS]
    ranges = [prefix(kind, forwarding, version) for version in VERSIONS]
    fields: Fields = {"method": method, "ranges": ranges}
    if kind == "ftp":
        return [Order(name, fields | {"ports": ["tcp/21"]} | _balancing(forwarding, None, FIRST))]
    if kind == "ports":
        web = {"ports": ["tcp/80"]} | _balancing(forwarding, 0, FIRST)
        dns = {"ports": ["udp/53"]} | _balancing(forwarding, 1, SECOND)
        return [Order(f"{name}-web", fields | web), Order(f"{name}-dns", fields | dns)]
    balancing = _balancing(forwarding, None, FIRST)
    return [Order(name, fields | balancing | EXTRA.get(kind, {}))]


def _idle(method: str, name: str, forwarding: str, version: int) -> Order:
    """Servers of the other IP version only; as a local listener, nobody."""
    fields: Fields = {"method": method, "ranges": [prefix("idle", forwarding, version)]}
    other = 6 if version == 4 else 4
    return Order(f"{name}-{version}", fields | _balancing(forwarding, None, NOBODY, (other,)))


def _balancing(
    forwarding: str, server: int | None, port: int, versions: tuple[int, ...] = VERSIONS
) -> Fields:
    """Return where packets go: to one server, or to all."""
    if forwarding == PROXY:
        return {"to_port": port}
    chosen = slice(None) if server is None else slice(server, server + 1)
    reals = [real for version in versions for real in REALS[version][chosen]]
    return {"forward": forwarding, "scheduler": "rr", "reals": reals, "set_sysctls": True}
