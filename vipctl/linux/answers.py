"""Whether the director accepts what a real server answers from a VIP, as checks through it need."""

import _socket as socket
import errno
from ipaddress import ip_address

from vipctl.addresses.prefixes import AF, IPAddress
from vipctl.linux import netlink, sysctl
from vipctl.linux.routing import ways
from vipctl.linux.routing.ways import Packet
from vipctl.services.values import Port

REFUSED_SOURCE = errno.EINVAL, errno.EXDEV
ANY_PORT = 9  # no packet is sent


def refused(vip: IPAddress, real: IPAddress) -> str:
    """Why they are dropped, in words; "" if they are not, as far as the kernel tells.

    The kernel is asked for the route of an answer, which comes by the device that leads to the real
    server. It validates sources of IPv4 alone.
    """
    device = ways.device_to(real)
    if vip.version != 4 or not device:
        return ""
    packet = Packet(vip, device, ip_address(asked_from(vip, real)), 0, Port("tcp", 0))
    with netlink.connect() as link:
        way = ways.taken_by(link, packet)
    return _words(ways.name_of(device)) if way.failure in REFUSED_SOURCE else ""


def asked_from(vip: IPAddress, real: IPAddress) -> str:
    """The director's address toward the real server, which so has a way back. Raises OSError."""
    if real.version == vip.version:
        return _address_toward(real)
    return _address_on(ways.device_to(real), vip.version) or _address_toward(vip)


def own_toward(where: IPAddress) -> IPAddress:
    """The director's address that it asks `where` from. Raises OSError where there is no way."""
    return ip_address(_address_toward(where))


def _address_toward(where: IPAddress) -> str:
    sock = socket.socket(AF[where.version], socket.SOCK_DGRAM)
    try:
        sock.connect((str(where), ANY_PORT))
        return str(sock.getsockname()[0])
    finally:
        sock.close()


def _address_on(device: int | None, version: int) -> str:
    there = (own.address for own in ways.own() if own.device == device)
    usable = (str(a) for a in there if a.version == version and not a.is_link_local)
    return next(usable, "")


def _words(device: str) -> str:
    said = f"the director drops what comes from a VIP by {device}"
    values = [sysctl.read(f"net.ipv4.conf.{name}.rp_filter") or "0" for name in ("all", device)]
    if max(values) == "1":
        loose = f"sysctl -w net/ipv4/conf/{device}/rp_filter=2"
        return f"{said}, as strict source validation is on: {loose}"
    return f"{said}: its source is not valid to the kernel"
