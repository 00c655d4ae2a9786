"""The messages to IPVS, over its generic netlink family, and its answers.

Numbers are from include/uapi/linux/ip_vs.h.
"""

import errno
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple

from vipctl import files, log
from vipctl.addresses.few import WIDTH
from vipctl.addresses.prefixes import AF
from vipctl.errors import KernelError, Missing
from vipctl.linux import netlink, timeouts
from vipctl.linux.genetlink import SHORT, Attributes, Family, parsed
from vipctl.linux.netlink import NLA_F_NESTED, NUMBER, attribute
from vipctl.services.real import RealServer, real_key

SERVICE, DEST = 1, 2  # IPVS_CMD_ATTR_…
connect = timeouts.connect
COMMANDS = {
    "add service": 1, "set service": 2, "del service": 3, "get service": 4,
    "add real server": 5, "set real server": 6, "del real server": 7, "list real servers": 8,
}  # fmt: skip
SVC_AF, SVC_FWMARK, SVC_SCHED, SVC_FLAGS, SVC_TIMEOUT, SVC_NETMASK, SVC_PE = 1, 5, 6, 7, 8, 9, 11
DEST_ADDR, DEST_PORT, DEST_FWD, DEST_WEIGHT, DEST_UPPER, DEST_LOWER = 1, 2, 3, 4, 5, 6
DEST_ACTIVE, DEST_INACTIVE, DEST_AF = 7, 8, 11
DEST_TUN_TYPE, DEST_TUN_PORT, DEST_TUN_FLAGS = 13, 14, 15
STATS64 = 12  # of either
STATISTICS = 1, 2, 3, 4, 5  # IPVS_STATS_ATTR_CONNS, INPKTS, OUTPKTS, INBYTES, OUTBYTES
IP_VS_SVC_F_HASHED = 0x0002  # the kernel's own
BY_ORDER = ("sh", "mh", "dh")  # schedulers that map clients by the order of the kernel's list
ALL_FLAGS = 0xFFFFFFFF
IP_VS_CONN_F_FWD_MASK = 0x0007
FLAGS = struct.Struct("=II")  # struct ip_vs_flags
LONG = struct.Struct("=Q")
PORT = struct.Struct(">H")
BYTE = struct.Struct("B")


class Key(NamedTuple):
    """What identifies a fwmark service in IPVS."""

    mark: int
    version: int


class Tunnel(NamedTuple):
    """How IPVS has one; by default IP in IP."""

    kind: int = 0  # IP_VS_CONN_F_TUNNEL_TYPE_…
    port: int = 0
    flags: int = 0  # IP_VS_TUNNEL_ENCAP_FLAG_…


class Dest(NamedTuple):
    """A real server."""

    real: RealServer
    forward: int
    tunnel: Tunnel = Tunnel()


class Virtual(NamedTuple):
    """One IPVS service: one IP version of a `Service`.

    `dests` are sorted; or, where the order matters, as they were added to the kernel.
    """

    scheduler: str
    flags: int
    timeout: int
    netmask: bytes
    dests: tuple[Dest, ...]
    engine: str = ""  # of persistence


class Counters(NamedTuple):
    """Totals since the service or real server was created; `active` and `inactive` are of now."""

    connections: int
    packets_in: int
    packets_out: int
    bytes_in: int
    bytes_out: int
    active: int = 0
    inactive: int = 0


def all_services(family: Family) -> Iterator[tuple[Key, Virtual]]:
    """All services with a fwmark, whoever made them."""
    return ((key, parsed_service(service)) for key, service in _dumped(family))


def all_totals(family: Family) -> Iterator[tuple[Key, Counters]]:
    """What is counted of them."""
    return ((key, Counters(*totals(service))) for key, service in _dumped(family))


def _dumped(family: Family) -> Iterator[tuple[Key, Attributes]]:
    for found in family.dump(COMMANDS["get service"], b""):
        service = parsed(found[SERVICE])
        if SVC_FWMARK in service:
            yield Key(_number(service, SVC_FWMARK), _version(service[SVC_AF])), service


def lacks_scheduler(scheduler: str) -> Missing:
    return Missing(
        f"this kernel has no IPVS scheduler {scheduler!r}", hint=f"modprobe ip_vs_{scheduler}"
    )


def lacks_engine(engine: str) -> Missing:
    return Missing(
        f"this kernel has no IPVS persistence engine {engine!r}", hint=f"modprobe ip_vs_pe_{engine}"
    )


class Seen(NamedTuple):
    """One service and its real servers, as they were added."""

    service: Attributes
    dests: list[Attributes]

    def virtual(self) -> Virtual:
        found, dests = parsed_service(self.service), list(map(_parsed_dest, self.dests))
        if found.scheduler not in BY_ORDER:
            dests.sort(key=lambda dest: real_key(dest.real))
        return found._replace(dests=tuple(dests))

    def counters(self) -> tuple[Counters, dict[str, Counters]]:
        """Of the service, and of its real servers by endpoint."""
        reals = {real(dest).endpoint: counted(dest) for dest in self.dests}
        return Counters(*totals(self.service)), reals


def look(family: Family, key: Key) -> Seen | None:
    service = get(family, key)
    return None if service is None else Seen(service, dests(family, key)[::-1])


def parsed_service(service: Attributes) -> Virtual:
    """Without its real servers."""
    return Virtual(
        service[SVC_SCHED].rstrip(b"\0").decode(),
        FLAGS.unpack(service[SVC_FLAGS])[0] & ~IP_VS_SVC_F_HASHED,
        _number(service, SVC_TIMEOUT),
        service[SVC_NETMASK],
        (),
        service.get(SVC_PE, b"").rstrip(b"\0").decode(),
    )


def as_added(family: Family, key: Key) -> tuple[Dest, ...]:
    """The real servers in the order in which they were added: the kernel lists the newest first."""
    return tuple(map(_parsed_dest, reversed(dests(family, key))))


def get(family: Family, key: Key) -> Attributes | None:
    failure, found = family.get(COMMANDS["get service"], _identity(key))
    if failure in (errno.ESRCH, errno.ENOENT, errno.EAFNOSUPPORT):
        return None
    if failure:
        raise _refused(f"get service of {_text(key)}", failure)
    return parsed(found[SERVICE])


def dests(family: Family, key: Key) -> list[Attributes]:
    dumped = family.dump(COMMANDS["list real servers"], _identity(key))
    return [parsed(found[DEST]) for found in dumped]


def real(dest: Attributes) -> RealServer:
    version = _version(dest[DEST_AF])
    return RealServer(
        ip_address(dest[DEST_ADDR][: WIDTH[version]]),
        PORT.unpack(dest[DEST_PORT])[0],
        _number(dest, DEST_WEIGHT),
        _number(dest, DEST_UPPER),
        _number(dest, DEST_LOWER),
    )


def _version(family: bytes) -> int:
    return 4 if SHORT.unpack(family)[0] == AF[4] else 6


def _parsed_dest(dest: Attributes) -> Dest:
    return Dest(
        real(dest),
        _number(dest, DEST_FWD) & IP_VS_CONN_F_FWD_MASK,
        _tunnel(dest) if DEST_TUN_TYPE in dest else Tunnel(),
    )


def _tunnel(dest: Attributes) -> Tunnel:
    (kind,), (port,) = BYTE.unpack(dest[DEST_TUN_TYPE]), PORT.unpack(dest[DEST_TUN_PORT])
    return Tunnel(kind, port, *SHORT.unpack(dest[DEST_TUN_FLAGS]))


def _number(found: Attributes, kind: int) -> int:
    return int(NUMBER.unpack(found[kind])[0])


def counted(dest: Attributes) -> Counters:
    active, inactive = (_number(dest, kind) for kind in (DEST_ACTIVE, DEST_INACTIVE))
    return Counters(*totals(dest))._replace(active=active, inactive=inactive)


def totals(found: Attributes) -> Iterator[int]:
    """Of a service or a real server."""
    totals = parsed(found[STATS64])
    return (LONG.unpack(totals[kind])[0] for kind in STATISTICS)


def _identity(key: Key, more: bytes = b"") -> bytes:
    """The attribute that identifies a service, with `more` attributes of it."""
    version = SHORT.pack(AF[key.version])
    content = attribute(SVC_AF, version) + attribute(SVC_FWMARK, NUMBER.pack(key.mark))
    return attribute(SERVICE | NLA_F_NESTED, content + more)


def change_service(family: Family, verb: str, key: Key, virtual: Virtual) -> None:
    log.debug("ipvs: %s service of %s %s", verb, _text(key), virtual)
    settings = [
        (SVC_SCHED, virtual.scheduler.encode() + b"\0"),
        (SVC_FLAGS, FLAGS.pack(virtual.flags, ALL_FLAGS)),
        (SVC_TIMEOUT, NUMBER.pack(virtual.timeout)),
        (SVC_NETMASK, virtual.netmask),
    ]
    if virtual.engine:
        settings.append((SVC_PE, virtual.engine.encode() + b"\0"))
    content = _identity(key, b"".join(attribute(*setting) for setting in settings))
    failure = family.do(COMMANDS[f"{verb} service"], content)
    if failure == errno.ENOENT and verb != "del":
        raise _lacks(virtual)
    if failure:
        raise _refused(f"{verb} service of {_text(key)} ({virtual.scheduler})", failure)


def _lacks(virtual: Virtual) -> Missing:
    """The kernel looks up (and loads) the scheduler first: if it is there, the engine is not."""
    if virtual.engine and files.exists(f"/sys/module/ip_vs_{virtual.scheduler}"):
        return lacks_engine(virtual.engine)
    return lacks_scheduler(virtual.scheduler)


def change_dest(family: Family, verb: str, key: Key, dest: Dest) -> None:
    """Sends all settings each time: the kernel sets to 0 what a message does not name."""
    real = dest.real
    log.debug("ipvs: %s real server %s of %s", verb, real, _text(key))
    settings = (
        (DEST_ADDR, real.address.packed.ljust(16, b"\0")),  # union nf_inet_addr
        (DEST_PORT, PORT.pack(real.port)),
        (DEST_AF, SHORT.pack(AF[real.address.version])),
        (DEST_FWD, NUMBER.pack(dest.forward)),
        (DEST_WEIGHT, NUMBER.pack(real.weight)),
        (DEST_UPPER, NUMBER.pack(real.upper)),
        (DEST_LOWER, NUMBER.pack(real.lower)),
        (DEST_TUN_TYPE, BYTE.pack(dest.tunnel.kind)),
        (DEST_TUN_PORT, PORT.pack(dest.tunnel.port)),
        (DEST_TUN_FLAGS, SHORT.pack(dest.tunnel.flags)),
    )
    content = b"".join(attribute(*setting) for setting in settings)
    failure = family.do(
        COMMANDS[f"{verb} real server"], _identity(key) + attribute(DEST | NLA_F_NESTED, content)
    )
    if failure:
        mixed = real.address.version != key.version
        raise _refused(f"{verb} real server {real} of {_text(key)}", failure, mixed=mixed)


def _text(key: Key) -> str:
    return f"fwmark {key.mark:#x} (IPv{key.version})"


def _refused(what: str, code: int, *, mixed: bool = False) -> KernelError:
    """`mixed` is for a real server of another address family."""
    hint = "see what is there: ipvsadm -Ln"
    if mixed and code == errno.EINVAL:
        hint = (
            "IPVS's sync daemon (ipvsadm -L --daemon) does not know real servers of another "
            "address family than the VIP: stop it, or use family=own"
        )
    return netlink.refusal(f"IPVS: {what}", code, hint)
