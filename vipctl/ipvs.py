"""Virtual services and real servers in the kernel's IPVS, over generic netlink (pyroute2)."""

import errno
import logging
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, NamedTuple

from vipctl.errors import KernelError, Missing
from vipctl.model import SCHEDULER_FLAGS, Forward, RealServer, Service, real_key
from vipctl.prefixes import FAMILY, VERSIONS

# include/uapi/linux/ip_vs.h
IP_VS_SVC_F_PERSISTENT = 0x0001
IP_VS_SVC_F_SCHED1 = 0x0008
IP_VS_SVC_F_SCHED2 = 0x0010
IP_VS_CONN_F_FWD_MASK = 0x0007
FORWARD_FLAG = {Forward.NAT: 0, Forward.TUN: 2, Forward.DR: 3}
OUR_FLAGS = IP_VS_SVC_F_PERSISTENT | IP_VS_SVC_F_SCHED1 | IP_VS_SVC_F_SCHED2
# Netmask of a fwmark service, as an IPv4 address of the same four bytes: all ones for IPv4, the
# prefix length 128 in the machine's byte order for IPv6.
NETMASK = {4: "255.255.255.255", 6: socket.inet_ntoa((128).to_bytes(4, sys.byteorder))}


log = logging.getLogger(__name__)


class Key(NamedTuple):
    """What IPVS knows a fwmark service by."""

    mark: int
    version: int


@dataclass(frozen=True, slots=True)
class Virtual:
    """One IPVS service: one IP version of a `Service`."""

    scheduler: str
    flags: int
    timeout: int
    forward: int
    reals: tuple[RealServer, ...]


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
    known = SCHEDULER_FLAGS.get(service.scheduler.name, {})
    flags = sum(known[flag] for flag in service.scheduler.flags)
    if service.persistence:
        flags |= IP_VS_SVC_F_PERSISTENT
    return Virtual(
        service.scheduler.name,
        flags,
        service.persistence,
        FORWARD_FLAG[service.forward],
        tuple(r for r in service.reals if r.address.version == version),
    )


def read(marks: Iterable[int]) -> dict[Key, Virtual]:
    """The kernel's services with one of these fwmarks; {} where IPVS is not there at all."""
    wanted = sorted(set(marks))
    if not wanted:
        return {}
    with _netlink() as ip:
        keys = [Key(mark, version) for mark in wanted for version in VERSIONS]
        found = {key: _read_one(ip, key) for key in keys}
    return {key: virtual for key, virtual in found.items() if virtual is not None}


def counters(marks: Iterable[int]) -> dict[Key, tuple[Counters, dict[str, Counters]]]:
    """Of each service, and of its real servers by endpoint."""
    found = {}
    with _netlink() as ip:
        for mark in sorted(set(marks)):
            for version in VERSIONS:
                key = Key(mark, version)
                message = _get(ip, key)
                if message is not None:
                    reals = {_real(d).endpoint: _counters(d) for d in _dests(ip, key)}
                    found[key] = _counters(message), reals
    return found


def add(wanted: dict[Key, Virtual], present: dict[Key, Virtual]) -> None:
    """Creates and changes until the kernel has at least what is wanted."""
    if not wanted:
        return
    with _netlink() as ip:
        for key, virtual in wanted.items():
            old = present.get(key)
            if old is None:
                _service(ip, "add", key, virtual)
            elif _settings(old) != _settings(virtual):
                _service(ip, "set", key, virtual)
            _change_reals(ip, key, virtual, old)


def remove(wanted: dict[Key, Virtual], present: dict[Key, Virtual]) -> None:
    """Deletes what is present and not wanted."""
    surplus = [key for key in present if key not in wanted]
    if not surplus:
        return
    with _netlink() as ip:
        for key in surplus:
            _service(ip, "del", key, present[key])


def _settings(virtual: Virtual) -> tuple[str, int, int]:
    return virtual.scheduler, virtual.flags, virtual.timeout


def _change_reals(ip: Any, key: Key, new: Virtual, old: Virtual | None) -> None:
    before = {real_key(r): r for r in old.reals} if old else {}
    forward_changed = old is not None and old.forward != new.forward
    for real in new.reals:
        was = before.pop(real_key(real), None)
        if was is None:
            _dest(ip, "add", key, real, new.forward)
        elif was != real or forward_changed:
            _dest(ip, "set", key, real, new.forward)
    for real in before.values():
        _dest(ip, "del", key, real, new.forward)


def _read_one(ip: Any, key: Key) -> Virtual | None:
    message = _get(ip, key)
    if message is None:
        return None
    dests = list(_dests(ip, key))
    forwards = {d.get("IPVS_DEST_ATTR_FWD_METHOD") & IP_VS_CONN_F_FWD_MASK for d in dests}
    flags = message.get("IPVS_SVC_ATTR_FLAGS")["flags"] & OUR_FLAGS
    return Virtual(
        message.get("IPVS_SVC_ATTR_SCHED_NAME"),
        flags,
        message.get("IPVS_SVC_ATTR_TIMEOUT") if flags & IP_VS_SVC_F_PERSISTENT else 0,
        forwards.pop() if len(forwards) == 1 else -1,
        tuple(sorted(map(_real, dests), key=real_key)),
    )


def _get(ip: Any, key: Key) -> Any:
    """The service's message or None."""
    from pyroute2 import NetlinkError

    try:
        messages = list(ip.service("get", _identity(key)))
    except NetlinkError as e:
        if e.code in (errno.ESRCH, errno.ENOENT):
            return None
        raise _refusal(f"get service of {_text(key)}", e) from e
    return messages[0].get("IPVS_CMD_ATTR_SERVICE") if messages else None


def _dests(ip: Any, key: Key) -> Iterator[Any]:
    from pyroute2 import NetlinkError

    try:
        for message in ip.dest("dump", service=_identity(key)):
            dest = message.get("IPVS_CMD_ATTR_DEST")
            if dest is not None:
                yield dest
    except NetlinkError as e:
        raise _refusal(f"list real servers of {_text(key)}", e) from e


def _real(dest: Any) -> RealServer:
    return RealServer(
        ip_address(dest.get("IPVS_DEST_ATTR_ADDR")),
        dest.get("IPVS_DEST_ATTR_PORT"),
        dest.get("IPVS_DEST_ATTR_WEIGHT"),
    )


def _counters(message: Any) -> Counters:
    names = ("CONNS", "INPKTS", "OUTPKTS", "INBYTES", "OUTBYTES")
    svc, dest = "IPVS_SVC_ATTR_", "IPVS_DEST_ATTR_"
    stats = message.get(f"{svc}STATS64") or message.get(f"{dest}STATS64")
    totals = [stats.get(f"IPVS_STATS_ATTR_{name}") for name in names]
    connections = [message.get(f"{dest}{kind}_CONNS") or 0 for kind in ("ACTIVE", "INACT")]
    return Counters(*totals, *connections)


def _identity(key: Key) -> Any:
    from pyroute2 import IPVSService

    return IPVSService(af=FAMILY[key.version], fwmark=key.mark)


def _service(ip: Any, verb: str, key: Key, virtual: Virtual) -> None:
    from pyroute2 import IPVSService, NetlinkError

    log.debug("ipvs: %s service of %s %s", verb, _text(key), virtual)

    service = IPVSService(
        af=FAMILY[key.version],
        fwmark=key.mark,
        sched_name=virtual.scheduler,
        flags={"flags": virtual.flags, "mask": OUR_FLAGS},
        timeout=virtual.timeout,
        netmask=NETMASK[key.version],
    )
    try:
        ip.service(verb, service)
    except NetlinkError as e:
        if e.code == errno.ENOENT and verb != "del":
            raise Missing(
                f"this kernel has no IPVS scheduler {virtual.scheduler!r}",
                hint=f"modprobe ip_vs_{virtual.scheduler}",
            ) from e
        raise _refusal(f"{verb} service of {_text(key)} ({virtual.scheduler})", e) from e


def _dest(ip: Any, verb: str, key: Key, real: RealServer, forward: int) -> None:
    from pyroute2 import IPVSDest, NetlinkError

    log.debug("ipvs: %s real server %s of %s", verb, real, _text(key))

    dest = IPVSDest(addr=str(real.address), port=real.port, weight=real.weight, fwd_method=forward)
    try:
        ip.dest(verb, service=_identity(key), dest=dest)
    except NetlinkError as e:
        raise _refusal(f"{verb} real server {real} of {_text(key)}", e) from e


def _text(key: Key) -> str:
    return f"fwmark {key.mark:#x} (IPv{key.version})"


def _refusal(what: str, error: Any) -> KernelError:
    words = f"{error.args[-1]} (errno {error.code})"
    return KernelError(f"IPVS: {what}: {words}", hint="see what is there: ipvsadm -Ln")


@contextmanager
def _netlink() -> Iterator[Any]:
    try:
        from pyroute2 import IPVS, NetlinkError
    except ImportError as e:
        raise Missing(f"pyroute2 cannot be used: {e}", hint="pip install pyroute2") from e
    try:
        ip = IPVS()
    except (NetlinkError, OSError) as e:
        raise Missing(
            "this kernel has no IPVS, or its module is not loaded", hint="modprobe ip_vs"
        ) from e
    try:
        with ip:
            yield ip
    except (NetlinkError, OSError) as e:
        raise KernelError(f"IPVS: {e.args[-1]}", hint="dmesg may say more; try again") from e
