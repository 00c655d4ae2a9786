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
    range    a range of ports
    ops      one-packet scheduling (dr and tun)
    sticky   persistence by networks of clients
    full     real servers that take one connection each
    snat     source NAT (nat)
    mixed    the second real server has another forwarding method
    gue      tunnels of GUE (tun)
    across   real servers of the other IP version, with family=both (tun)
    own      the only real server is on the director (nat)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_address, ip_network
from typing import Any

from tests.conformance.cell import FORWARDINGS, IPVS, PROXY, VERSIONS, Cell

Fields = dict[str, Any]
KINDS = (
    *("all", "ports", "idle", "back", "subnet", "arp", "pinged", "ftp"),
    *("range", "ops", "sticky", "full", "snat", "mixed", "gue", "across", "own"),
)
DIRECTOR = {4: "10.0.1.1", 6: "fd00:1::1"}
REALS = {4: ("10.0.1.11", "10.0.1.12"), 6: ("fd00:1::11", "fd00:1::12")}
FIRST, SECOND = 8080, 8081  # where proxies listen on the director
OWN, NOBODY = 8082, 8099  # where a real server does, and where nobody does
EXTRA: dict[str, Fields] = {
    "arp": {"arp": True},
    "pinged": {"ping": True},
    "range": {"ports": ["tcp/70-80", "udp/70-80"]},
    "ops": {"scheduler": "rr,ops"},
    "sticky": {"persistence": "300,mask=24,mask6=64"},
    "snat": {"source_nat": ["auto"]},
}
OTHER = {"nat": "dr", "dr": "tun", "tun": "nat"}  # forwarding methods of `mixed`
WHOLE = {4: ip_network("100.64.0.0/10"), 6: ip_network("2001:db8::/32")}  # all but `subnet`
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
    name = key.replace("_", "-")
    if isinstance(value, list):
        return [f"--{name.removesuffix('s')}={each}" for each in value]
    return [f"--{name}"] if value is True else [f"--{name}={value}"]


def prefix(kind: str, forwarding: str, version: int) -> str:
    """Return the range of a service."""
    number = FORWARDINGS.index(forwarding)
    if kind == "subnet":
        return f"10.0.0.{128 + 32 * number}/27" if version == 4 else f"fd00::{number + 1}:0/112"
    place = KINDS.index(kind) * len(FORWARDINGS) + number
    if version == 6:
        return f"2001:db8:{place + 1:x}::/64"
    return str(IPv4Network((int(WHOLE[4][0]) + (place << 11), 21)))


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
        for forwarding in IPVS if kind == "mixed" else IPVS[1:]:
            yield prefix(kind, forwarding, version), kind != "back"


def orders(method: str, kind: str, forwarding: str) -> list[Order]:
    """Return the services to ask vipctl for."""
    name = f"{kind}-{forwarding}"
    if kind == "idle":
        return [_idle(method, name, forwarding, version) for version in VERSIONS]
    if kind == "across":
        return [_across(method, name, forwarding, version) for version in VERSIONS]
    ranges = [prefix(kind, forwarding, version) for version in VERSIONS]
    fields: Fields = {"method": method, "ranges": ranges}
    if kind == "ftp":
        return [Order(name, fields | {"ports": ["tcp/21"]} | _balancing(forwarding, None, FIRST))]
    if kind == "ports":
        web = {"ports": ["tcp/80"]} | _balancing(forwarding, 0, FIRST)
        dns = {"ports": ["udp/53"]} | _balancing(forwarding, 1, SECOND)
        return [Order(f"{name}-web", fields | web), Order(f"{name}-dns", fields | dns)]
    return [Order(name, fields | _balancing(forwarding, None, FIRST) | _extra(kind, forwarding))]


def _extra(kind: str, forwarding: str) -> Fields:
    """Return what only a service of this kind has."""
    first, second = ([REALS[version][index] for version in VERSIONS] for index in (0, 1))
    if kind == "full":
        return {"reals": [f"{real},upper=1" for real in (*first, *second)]}
    if kind == "gue":
        return {"reals": [f"{real},forward=tun,tunnel=gue" for real in (*first, *second)]}
    if kind == "own":
        return {"reals": [_endpoint(DIRECTOR[version], OWN) for version in VERSIONS]}
    if kind == "mixed":
        return {"reals": [*first, *(f"{real},forward={OTHER[forwarding]}" for real in second)]}
    return EXTRA.get(kind, {})


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _idle(method: str, name: str, forwarding: str, version: int) -> Order:
    """Servers of the other IP version only; as a local listener, nobody."""
    fields: Fields = {"method": method, "ranges": [prefix("idle", forwarding, version)]}
    other = 6 if version == 4 else 4
    return Order(f"{name}-{version}", fields | _balancing(forwarding, None, NOBODY, (other,)))


def _across(method: str, name: str, forwarding: str, version: int) -> Order:
    ranges = [prefix("across", forwarding, version)]
    reals = [f"{real},forward=tun,family=both" for real in REALS[6 if version == 4 else 4]]
    fields: Fields = {"method": method, "ranges": ranges, "reals": reals, "set_sysctls": True}
    return Order(f"{name}-{version}", fields | {"forward": "tun", "scheduler": "rr"})


def _balancing(
    forwarding: str, server: int | None, port: int, versions: tuple[int, ...] = VERSIONS
) -> Fields:
    """Return where packets go: to one server, or to all."""
    if forwarding == PROXY:
        return {"to_port": port}
    chosen = slice(None) if server is None else slice(server, server + 1)
    reals = [real for version in versions for real in REALS[version][chosen]]
    return {"forward": forwarding, "scheduler": "rr", "reals": reals, "set_sysctls": True}
