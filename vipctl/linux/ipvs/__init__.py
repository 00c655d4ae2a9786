"""Virtual services and real servers in the kernel's IPVS: what it has, and is to have.

The messages to the kernel are in `messages`.
"""

import os
from collections.abc import Collection, Iterable
from contextlib import nullcontext

from vipctl import files
from vipctl.addresses.prefixes import VERSIONS
from vipctl.errors import KernelError, Missing, VipctlError
from vipctl.health.verdicts import NONE, Verdicts, effective
from vipctl.linux import sysctl
from vipctl.linux.genetlink import Family
from vipctl.linux.ipvs import messages
from vipctl.linux.ipvs.messages import Counters, Dest, Key, Seen, Tunnel, Virtual
from vipctl.linux.netlink import NUMBER
from vipctl.services.real import RealServer, real_key
from vipctl.services.service import Service
from vipctl.services.values import Forward, Persistence

IP_VS_SVC_F_PERSISTENT = 0x0001
FORWARD_FLAG = {Forward.NAT: 0, Forward.TUN: 2, Forward.DR: 3}
TUNNEL_TYPE = {"ipip": 0, "gue": 1, "gre": 2}  # IP_VS_CONN_F_TUNNEL_TYPE_…
TUNNEL_FLAG = {"": 0, "csum": 1, "remcsum": 2}  # IP_VS_TUNNEL_ENCAP_FLAG_…
MODULES = "/lib/modules"


def desired(services: Iterable[Service], verdicts: Verdicts = NONE) -> dict[Key, Virtual]:
    """What IPVS is to have of services, with the weights that health checks leave them.

    A service has one IPVS service for each IP version of its real servers, working or not.
    """
    return {
        Key(service.fwmark, version): _virtual(effective(service, verdicts), version)
        for service in services
        if service.balanced
        for version in sorted(service.versions())
    }


def _virtual(service: Service, version: int) -> Virtual:
    flags = service.scheduler.bits()
    if service.persistence.seconds:
        flags |= IP_VS_SVC_F_PERSISTENT
    reals = (real for real in service.reals if version in real.versions)
    return Virtual(
        service.scheduler.name,
        flags,
        service.persistence.seconds,
        _netmask(service.persistence, version),
        tuple(_dest(service, real) for real in reals),
        service.persistence.pe,
    )


def _dest(service: Service, real: RealServer) -> Dest:
    kind, port, checksum = real.tunnel
    tunnel = Tunnel(TUNNEL_TYPE[kind], port, TUNNEL_FLAG[checksum])
    return Dest(real.in_kernel(), FORWARD_FLAG[service.forward_of(real)], tunnel)


def _netmask(persistence: Persistence, version: int) -> bytes:
    """For IPv4 as an address, for IPv6 a prefix length in the machine's byte order."""
    if version == 6:
        return NUMBER.pack(persistence.mask6)
    return (0xFFFFFFFF << 32 - persistence.mask & 0xFFFFFFFF).to_bytes(4, "big")


def read(marks: Iterable[int]) -> dict[Key, Virtual]:
    """The kernel's services with one of these fwmarks."""
    return {key: seen.virtual() for key, seen in look(marks).items()}


def look(marks: Iterable[int]) -> dict[Key, Seen]:
    """The same, with their counters."""
    wanted = sorted(set(marks))
    if not wanted:
        return {}
    with messages.connect() as family:
        keys = [Key(mark, version) for mark in wanted for version in VERSIONS]
        found = {key: messages.look(family, key) for key in keys}
    return {key: seen for key, seen in found.items() if seen is not None}


def totals() -> dict[Key, Counters]:
    """What is counted of all services with a fwmark, in one dump. Raises Missing."""
    with messages.connect() as family:
        return dict(messages.all_totals(family))


def services(wanted: Collection[Key]) -> dict[Key, Virtual]:
    """The kernel's services with the fwmarks of `wanted`, without real servers, in one dump.

    The dump may miss some if others change services meanwhile: those are asked for singly.
    """
    if not wanted:
        return {}
    marks = {key.mark for key in wanted}
    with messages.connect() as family:
        found = {key: one for key, one in messages.all_services(family) if key.mark in marks}
        for key in wanted:
            if key not in found and (one := messages.get(family, key)) is not None:
                found[key] = messages.parsed_service(one)
    return found


def add(wanted: dict[Key, Virtual], present: dict[Key, Virtual]) -> dict[Key, VipctlError]:
    """Creates and changes until the kernel has at least what is wanted.

    Returns the services that it refuses; the others are added all the same.
    """
    refused: dict[Key, VipctlError] = {}
    if not wanted:
        return refused
    with messages.connect() as family:
        for key, virtual in wanted.items():
            try:
                _add(family, key, virtual, present.get(key))
            except (KernelError, Missing) as e:
                refused[key] = e
    return refused


def _add(family: Family, key: Key, virtual: Virtual, old: Virtual | None) -> None:
    if old is None:
        messages.change_service(family, "add", key, virtual)
    elif settings(old) != settings(virtual):
        messages.change_service(family, "set", key, virtual)
    _change_reals(family, key, virtual, old)


def foreseen(wanted: dict[Key, Virtual]) -> dict[Key, Missing]:
    """Those of `wanted` that this kernel cannot have, as far as its module files tell."""
    found: dict[Key, Missing] = {}
    no_ipv6 = sysctl.without_ipv6()
    for key, virtual in wanted.items():
        if key.version == 6 and no_ipv6:
            found[key] = no_ipv6
        elif not _has_module(virtual.scheduler):
            found[key] = messages.lacks_scheduler(virtual.scheduler)
        elif virtual.engine and not _has_module(f"pe_{virtual.engine}"):
            found[key] = messages.lacks_engine(virtual.engine)
    return found


def _has_module(name: str) -> bool:
    """True also if this cannot be seen: systemd's ProtectKernelModules= hides the modules."""
    known = [f"{MODULES}/{os.uname().release}/modules.{kind}" for kind in ("dep", "builtin")]
    if files.exists(f"/sys/module/ip_vs_{name}") or not all(map(files.exists, known)):
        return True
    return any(f"/ip_vs_{name}.ko" in files.text(path) for path in known)


def remove(wanted: dict[Key, Virtual], present: dict[Key, Virtual]) -> None:
    """Deletes what is present and not wanted."""
    surplus = [key for key in present if key not in wanted]
    if not surplus:
        return
    with messages.connect() as family:
        for key in surplus:
            messages.change_service(family, "del", key, present[key])


def settings(virtual: Virtual) -> Virtual:
    return virtual._replace(dests=())


def _change_reals(family: Family, key: Key, new: Virtual, old: Virtual | None) -> None:
    before = {real_key(d.real): d for d in old.dests} if old else {}
    again = _moved(family, key, new, old) & before.keys() if old else set()
    with sysctl.held(sysctl.EXPIRE_NODEST, "0") if again else nullcontext():
        for dest in new.dests:
            was = before.pop(real_key(dest.real), None)
            if real_key(dest.real) in again:
                messages.change_dest(family, "del", key, dest)
                was = None
            if was is None:
                messages.change_dest(family, "add", key, dest)
            elif was != dest:
                messages.change_dest(family, "set", key, dest)
    for dest in before.values():
        messages.change_dest(family, "del", key, dest)


def _moved(family: Family, key: Key, new: Virtual, old: Virtual) -> set[tuple[int, int, int]]:
    """The real servers to add, or to remove and add again, for the kernel to list all in order.

    One that is added again gets its connections back. With expire_nodest_conn=1, a packet that
    arrives in between would end its connection; with 0 it is only lost.
    """
    if new.scheduler not in messages.BY_ORDER:
        return set()
    wanted, stay = [real_key(dest.real) for dest in new.dests], 0
    for dest in old.dests if old.scheduler in messages.BY_ORDER else messages.as_added(family, key):
        if stay < len(wanted) and real_key(dest.real) == wanted[stay]:
            stay += 1
    return set(wanted[stay:])
