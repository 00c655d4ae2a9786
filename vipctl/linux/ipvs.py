"""Virtual services and real servers in the kernel's IPVS, over its generic netlink family.

Numbers are from include/uapi/linux/ip_vs.h.
"""

import errno
import os
import struct
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from ipaddress import ip_address
from typing import NamedTuple

from vipctl import files, log
from vipctl.addresses.few import WIDTH
from vipctl.addresses.prefixes import FAMILY, VERSIONS
from vipctl.errors import KernelError, Missing, VipctlError
from vipctl.linux import genetlink, sysctl
from vipctl.linux.genetlink import SHORT, Attributes, Family, parsed
from vipctl.linux.netlink import NLA_F_NESTED, NUMBER, attribute
from vipctl.services.real import RealServer, real_key
from vipctl.services.service import Service
from vipctl.services.values import Forward

SERVICE, DEST = 1, 2  # IPVS_CMD_ATTR_…
COMMANDS = {
    "add service": 1, "set service": 2, "del service": 3, "get service": 4,
    "add real server": 5, "set real server": 6, "del real server": 7, "list real servers": 8,
}  # fmt: skip
SVC_AF, SVC_FWMARK, SVC_SCHED, SVC_FLAGS, SVC_TIMEOUT, SVC_NETMASK, SVC_PE = 1, 5, 6, 7, 8, 9, 11
DEST_ADDR, DEST_PORT, DEST_FWD, DEST_WEIGHT, DEST_UPPER, DEST_LOWER = 1, 2, 3, 4, 5, 6
DEST_ACTIVE, DEST_INACTIVE, DEST_AF = 7, 8, 11
DEST_TUNNEL = 13, 14, 15  # type, port, flags
STATS64 = 12  # of either
STATISTICS = 1, 2, 3, 4, 5  # IPVS_STATS_ATTR_CONNS, INPKTS, OUTPKTS, INBYTES, OUTBYTES
BY_ORDER = ("sh", "mh", "dh")  # schedulers that map clients by the order of the kernel's list
IP_VS_SVC_F_PERSISTENT = 0x0001
IP_VS_SVC_F_HASHED = 0x0002  # the kernel's own
ALL_FLAGS = 0xFFFFFFFF
IP_VS_CONN_F_FWD_MASK = 0x0007
FORWARD_FLAG = {Forward.NAT: 0, Forward.TUN: 2, Forward.DR: 3}
# Of a fwmark service: an address for IPv4, for IPv6 a prefix length in the machine's byte order.
NETMASK = {4: b"\xff\xff\xff\xff", 6: NUMBER.pack(128)}
FLAGS = struct.Struct("=II")  # struct ip_vs_flags
MODULES = "/lib/modules"
LONG = struct.Struct("=Q")
PORT = struct.Struct(">H")


class Key(NamedTuple):
    """What IPVS knows a fwmark service by."""

    mark: int
    version: int


class Dest(NamedTuple):
    """A real server; what follows `forward` is nothing that vipctl sets."""

    real: RealServer
    forward: int
    tunnel: tuple[int, ...] = (0, 0, 0)  # type, port, flags


class Virtual(NamedTuple):
    """One IPVS service: one IP version of a `Service`.

    `dests` are sorted; or, where the order matters, as they were added to the kernel.
    """

    scheduler: str
    flags: int
    timeout: int
    netmask: bytes
    dests: tuple[Dest, ...]
    persistence_engine: bytes = b""


class Counters(NamedTuple):
    """Totals since the service or real server was created; `active` and `inactive` are of now."""

    connections: int
    packets_in: int
    packets_out: int
    bytes_in: int
    bytes_out: int
    active: int = 0
    inactive: int = 0


def desired(services: Iterable[Service]) -> dict[Key, Virtual]:
    """A service has one IPVS service for each IP version of its real servers."""
    return {
        Key(service.fwmark, version): _virtual(service, version)
        for service in services
        if service.balanced
        for version in sorted(service.versions())
    }


def _virtual(service: Service, version: int) -> Virtual:
    flags = service.scheduler.bits()
    if service.persistence:
        flags |= IP_VS_SVC_F_PERSISTENT
    forward = FORWARD_FLAG[service.forward]
    dests = (Dest(r, forward) for r in service.reals if r.address.version == version)
    return Virtual(
        service.scheduler.name, flags, service.persistence, NETMASK[version], tuple(dests)
    )


def read(marks: Iterable[int]) -> dict[Key, Virtual]:
    """The kernel's services with one of these fwmarks; {} where IPVS is not there at all."""
    wanted = sorted(set(marks))
    if not wanted:
        return {}
    with _connect() as family:
        keys = [Key(mark, version) for mark in wanted for version in VERSIONS]
        found = {key: _read_one(family, key) for key in keys}
    return {key: virtual for key, virtual in found.items() if virtual is not None}


def services(wanted: Collection[Key]) -> dict[Key, Virtual]:
    """Those of the kernel with the fwmarks of these, without their real servers: all at once.

    The kernel's list has gaps where others change theirs meanwhile: what it lacks is asked for.
    """
    if not wanted:
        return {}
    marks = {key.mark for key in wanted}
    with _connect() as family:
        found = {key: one for key, one in _all_services(family) if key.mark in marks}
        for key in wanted:
            if key not in found and (one := _get(family, key)) is not None:
                found[key] = _parsed_service(one)
    return found


def _all_services(family: Family) -> Iterator[tuple[Key, Virtual]]:
    """Anybody's, known by a fwmark."""
    for found in family.dump(COMMANDS["get service"], b""):
        service = parsed(found[SERVICE])
        if SVC_FWMARK in service:
            yield (
                Key(_number(service, SVC_FWMARK), _version(service[SVC_AF])),
                _parsed_service(service),
            )


def counters(marks: Iterable[int]) -> dict[Key, tuple[Counters, dict[str, Counters]]]:
    """Of each service, and of its real servers by endpoint."""
    found = {}
    with _connect() as family:
        for mark in sorted(set(marks)):
            for version in VERSIONS:
                key = Key(mark, version)
                if (service := _get(family, key)) is not None:
                    reals = {_real(d).endpoint: _counters(d) for d in _dests(family, key)}
                    found[key] = Counters(*_totals(service)), reals
    return found


def add(wanted: dict[Key, Virtual], present: dict[Key, Virtual]) -> dict[Key, VipctlError]:
    """Creates and changes until the kernel has at least what is wanted.

    Returns what it refuses: one service is nothing to the others.
    """
    refused: dict[Key, VipctlError] = {}
    if not wanted:
        return refused
    with _connect() as family:
        for key, virtual in wanted.items():
            try:
                _add(family, key, virtual, present.get(key))
            except (KernelError, Missing) as e:
                refused[key] = e
    return refused


def _add(family: Family, key: Key, virtual: Virtual, old: Virtual | None) -> None:
    if old is None:
        _service(family, "add", key, virtual)
    elif settings(old) != settings(virtual):
        _service(family, "set", key, virtual)
    _change_reals(family, key, virtual, old)


def foreseen(wanted: dict[Key, Virtual]) -> dict[Key, Missing]:
    """Those that this kernel cannot have, as far as its files tell."""
    found: dict[Key, Missing] = {}
    no_ipv6 = sysctl.without_ipv6()
    for key, virtual in wanted.items():
        if key.version == 6 and no_ipv6:
            found[key] = no_ipv6
        elif not _has_scheduler(virtual.scheduler):
            found[key] = _without(virtual.scheduler)
    return found


def _has_scheduler(name: str) -> bool:
    """Also where the modules may not be looked at: systemd's ProtectKernelModules= hides them."""
    known = [f"{MODULES}/{os.uname().release}/modules.{kind}" for kind in ("dep", "builtin")]
    if files.exists(f"/sys/module/ip_vs_{name}") or not all(map(files.exists, known)):
        return True
    return any(f"/ip_vs_{name}.ko" in files.text(path) for path in known)


def _without(scheduler: str) -> Missing:
    return Missing(
        f"this kernel has no IPVS scheduler {scheduler!r}", hint=f"modprobe ip_vs_{scheduler}"
    )


def remove(wanted: dict[Key, Virtual], present: dict[Key, Virtual]) -> None:
    """Deletes what is present and not wanted."""
    surplus = [key for key in present if key not in wanted]
    if not surplus:
        return
    with _connect() as family:
        for key in surplus:
            _service(family, "del", key, present[key])


def settings(virtual: Virtual) -> Virtual:
    return virtual._replace(dests=())


def _change_reals(family: Family, key: Key, new: Virtual, old: Virtual | None) -> None:
    before = {real_key(d.real): d for d in old.dests} if old else {}
    again = _moved(family, key, new, old) & before.keys() if old else set()
    with sysctl.held(sysctl.EXPIRE_NODEST, "0") if again else nullcontext():
        for dest in new.dests:
            was = before.pop(real_key(dest.real), None)
            if real_key(dest.real) in again:
                _dest(family, "del", key, dest)
                was = None
            if was is None:
                _dest(family, "add", key, dest)
            elif was != dest:
                _dest(family, "set", key, dest)
    for dest in before.values():
        _dest(family, "del", key, dest)


def _moved(family: Family, key: Key, new: Virtual, old: Virtual) -> set[tuple[int, int, int]]:
    """Those to be added, some again, so that the kernel lists all in the order of `dests`.

    One that comes back gets its connections back. With expire_nodest_conn=1, a packet that comes
    in between would end its connection; with 0 it is only lost.
    """
    if new.scheduler not in BY_ORDER:
        return set()
    wanted, stay = [real_key(dest.real) for dest in new.dests], 0
    for dest in old.dests if old.scheduler in BY_ORDER else _as_added(family, key):
        if stay < len(wanted) and real_key(dest.real) == wanted[stay]:
            stay += 1
    return set(wanted[stay:])


def _read_one(family: Family, key: Key) -> Virtual | None:
    service = _get(family, key)
    if service is None:
        return None
    found, dests = _parsed_service(service), _as_added(family, key)
    in_order = found.scheduler in BY_ORDER
    return found._replace(
        dests=dests if in_order else tuple(sorted(dests, key=lambda d: real_key(d.real)))
    )


def _parsed_service(service: Attributes) -> Virtual:
    """Without its real servers."""
    return Virtual(
        service[SVC_SCHED].rstrip(b"\0").decode(),
        FLAGS.unpack(service[SVC_FLAGS])[0] & ~IP_VS_SVC_F_HASHED,
        _number(service, SVC_TIMEOUT),
        service[SVC_NETMASK],
        (),
        service.get(SVC_PE, b""),
    )


def _as_added(family: Family, key: Key) -> tuple[Dest, ...]:
    """The kernel puts each before those it has."""
    return tuple(map(_parsed_dest, reversed(_dests(family, key))))


def _get(family: Family, key: Key) -> Attributes | None:
    failure, found = family.get(COMMANDS["get service"], _identity(key))
    if failure in (errno.ESRCH, errno.ENOENT, errno.EAFNOSUPPORT):
        return None
    if failure:
        raise _refusal(f"get service of {_text(key)}", failure)
    return parsed(found[SERVICE])


def _dests(family: Family, key: Key) -> list[Attributes]:
    dumped = family.dump(COMMANDS["list real servers"], _identity(key))
    return [parsed(found[DEST]) for found in dumped]


def _real(dest: Attributes) -> RealServer:
    version = _version(dest[DEST_AF])
    return RealServer(
        ip_address(dest[DEST_ADDR][: WIDTH[version]]),
        PORT.unpack(dest[DEST_PORT])[0],
        *(_number(dest, kind) for kind in (DEST_WEIGHT, DEST_UPPER, DEST_LOWER)),
    )


def _version(family: bytes) -> int:
    return 4 if SHORT.unpack(family)[0] == FAMILY[4] else 6


def _parsed_dest(dest: Attributes) -> Dest:
    return Dest(
        _real(dest),
        _number(dest, DEST_FWD) & IP_VS_CONN_F_FWD_MASK,
        tuple(int.from_bytes(dest.get(kind, b""), "big") for kind in DEST_TUNNEL),
    )


def _number(found: Attributes, kind: int) -> int:
    return int(NUMBER.unpack(found[kind])[0])


def _counters(dest: Attributes) -> Counters:
    active, inactive = (_number(dest, kind) for kind in (DEST_ACTIVE, DEST_INACTIVE))
    return Counters(*_totals(dest))._replace(active=active, inactive=inactive)


def _totals(found: Attributes) -> Iterator[int]:
    """Of a service or a real server."""
    totals = parsed(found[STATS64])
    return (LONG.unpack(totals[kind])[0] for kind in STATISTICS)


def _identity(key: Key, more: bytes = b"") -> bytes:
    """The attribute that names a service, and perhaps says more of it."""
    version = SHORT.pack(FAMILY[key.version])
    content = attribute(SVC_AF, version) + attribute(SVC_FWMARK, NUMBER.pack(key.mark))
    return attribute(SERVICE | NLA_F_NESTED, content + more)


def _service(family: Family, verb: str, key: Key, virtual: Virtual) -> None:
    log.debug("ipvs: %s service of %s %s", verb, _text(key), virtual)
    settings = (
        (SVC_SCHED, virtual.scheduler.encode() + b"\0"),
        (SVC_FLAGS, FLAGS.pack(virtual.flags, ALL_FLAGS)),
        (SVC_TIMEOUT, NUMBER.pack(virtual.timeout)),
        (SVC_NETMASK, virtual.netmask),
    )
    content = _identity(key, b"".join(attribute(*setting) for setting in settings))
    failure = family.do(COMMANDS[f"{verb} service"], content)
    if failure == errno.ENOENT and verb != "del":
        raise _without(virtual.scheduler)
    if failure:
        raise _refusal(f"{verb} service of {_text(key)} ({virtual.scheduler})", failure)


def _dest(family: Family, verb: str, key: Key, dest: Dest) -> None:
    """Whatever it does not name the kernel sets to 0."""
    real = dest.real
    log.debug("ipvs: %s real server %s of %s", verb, real, _text(key))
    settings = (
        (DEST_ADDR, real.address.packed.ljust(16, b"\0")),  # union nf_inet_addr
        (DEST_PORT, PORT.pack(real.port)),
        (DEST_AF, SHORT.pack(FAMILY[real.address.version])),
        (DEST_FWD, NUMBER.pack(dest.forward)),
        (DEST_WEIGHT, NUMBER.pack(real.weight)),
        (DEST_UPPER, NUMBER.pack(real.upper)),
        (DEST_LOWER, NUMBER.pack(real.lower)),
    )
    content = b"".join(attribute(*setting) for setting in settings)
    failure = family.do(
        COMMANDS[f"{verb} real server"], _identity(key) + attribute(DEST | NLA_F_NESTED, content)
    )
    if failure:
        raise _refusal(f"{verb} real server {real} of {_text(key)}", failure)


def _text(key: Key) -> str:
    return f"fwmark {key.mark:#x} (IPv{key.version})"


def _refusal(what: str, code: int) -> KernelError:
    words = f"{os.strerror(code)} (errno {code})"
    return KernelError(f"IPVS: {what}: {words}", hint="see what is there: ipvsadm -Ln")


def _connect() -> AbstractContextManager[Family]:
    words = "this kernel has no IPVS, or its module is not loaded"
    return genetlink.connect("IPVS", 1, Missing(words, hint="modprobe ip_vs"))
