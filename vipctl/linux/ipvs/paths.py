"""Ways for health checks through a VIP: for each real server an IPVS service with it alone.

Packets that the director itself marks for that service go to that real server, whatever VIP they
are for. What is ours is told by the block of fwmarks and by the timeout of the service: none of
these is persistent, so it has no meaning to IPVS, and is made from the token of the owner, a state
directory.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple
from zlib import crc32

from vipctl.errors import KernelError, Missing, Refused, VipctlError
from vipctl.linux import ipvs
from vipctl.linux.genetlink import Family
from vipctl.linux.ipvs import messages
from vipctl.linux.ipvs.messages import Key, Virtual
from vipctl.services.marks import check_marks, is_check_mark
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.services.values import Forward, Scheduler

Needed = tuple[int, Virtual]  # the IP version of a path, and the service for it
TIMEOUT = 1 << 20  # and a number below that: IPVS multiplies seconds by HZ, in 32 bits

NO_MARK = Refused(
    "all 1024 fwmarks for health checks through a VIP are in use",
    hint="check some services with --check-via rip",
)


class Path(NamedTuple):
    """To a real server, for VIPs of one IP version."""

    version: int
    real: RealServer


def path(service: Service, real: RealServer, version: int) -> Path:
    """That by which the service sends clients to it, but for the port: any may be asked."""
    forward = str(service.forward_of(real))
    bare = RealServer(real.address, forward=forward, tunnel=real.tunnel, family=real.family)
    return Path(version, bare)


def wanted(services: Iterable[Service]) -> list[Path]:
    """Those that the services' checks go by."""
    return [
        path(service, real, version)
        for service in services
        for real in (service.reals if service.checks else ())
        if service.checked_by_vip(real)
        for version in real.versions
    ]


def sync(
    paths: Iterable[Path], owner: str, used: Collection[int] = ()
) -> dict[Path, int | VipctlError]:
    """Has IPVS have these paths and no others of the owner's; returns their fwmarks.

    For a path that IPVS refuses, or for which no mark is free, why. Paths that are there keep
    theirs. No mark is taken that is `used`, or of which IPVS has a service of somebody else.
    Raises KernelError, or Missing where paths are needed and there is no IPVS.
    """
    needed = {one: _needed(one, owner) for one in paths}
    found: dict[Needed, int | VipctlError] = {}
    try:
        with messages.connect() as family:
            kept, taken = _kept(family, {*needed.values()}, owner, used)
            free = (mark for mark in check_marks() if mark not in taken)
            for one in dict.fromkeys(needed.values()):
                found[one] = kept.get(one) or _added(family, free, *one)
    except Missing:
        if needed:
            raise
    return {one: found[wanted] for one, wanted in needed.items()}


def _kept(
    family: Family, needed: Collection[Needed], owner: str, used: Collection[int]
) -> tuple[dict[Needed, int], set[int]]:
    """Removes the owner's paths that nobody needs; the marks of the others, and all in use."""
    found: dict[Needed, int] = {}
    taken = set(used)
    for key, there in _of_block(family):
        if not is_path(key, there, owner):
            taken.add(key.mark)
            continue
        known = key.version, _whole(family, key, there)
        if known in needed and known not in found and key.mark not in used:
            found[known] = key.mark
            taken.add(key.mark)
        else:
            _remove(family, key, there)
    return found, taken


def _added(
    family: Family, free: Iterator[int], version: int, virtual: Virtual
) -> int | VipctlError:
    if not (mark := next(free, 0)):
        return NO_MARK
    try:
        _add(family, Key(mark, version), virtual)
    except VipctlError as e:
        return e
    return mark


def prune(kept: Iterable[Path], owner: str) -> None:
    """Removes the owner's paths but those `kept`; nothing where there is no IPVS."""
    with suppress(Missing), messages.connect() as family:
        _kept(family, {_needed(one, owner) for one in kept}, owner, ())


def present(owner: str) -> frozenset[int]:
    """The fwmarks of the owner's paths, in one dump; fewer than before, if others flush."""
    with messages.connect() as family:
        return frozenset(key.mark for key, one in _of_block(family) if is_path(key, one, owner))


def is_path(key: Key, there: Virtual, owner: str) -> bool:
    """Whether a service of IPVS is one of the owner's paths."""
    persistent = there.flags & ipvs.IP_VS_SVC_F_PERSISTENT
    return is_check_mark(key.mark) and there.timeout == _timeout(owner) and not persistent


def _needed(one: Path, owner: str) -> Needed:
    """Where answers do not come by IPVS, it need not remember who asked by UDP: ops."""
    flags = () if one.real.forward == Forward.NAT else ("ops",)
    service = Service("", 1, scheduler=Scheduler("rr", flags), reals=(one.real,))
    virtual = ipvs.desired([service])[Key(1, one.version)]
    return one.version, virtual._replace(timeout=_timeout(owner))


def _timeout(owner: str) -> int:
    return TIMEOUT + crc32(owner.encode()) % TIMEOUT


def _of_block(family: Family) -> list[tuple[Key, Virtual]]:
    """The services of the block of marks, without their real servers."""
    return [found for found in messages.all_services(family) if is_check_mark(found[0].mark)]


def _whole(family: Family, key: Key, there: Virtual) -> Virtual:
    return there._replace(dests=messages.as_added(family, key))


def _add(family: Family, key: Key, virtual: Virtual) -> None:
    messages.change_service(family, "add", key, virtual)
    try:
        for dest in virtual.dests:
            messages.change_dest(family, "add", key, dest)
    except BaseException:
        _remove(family, key, virtual)
        raise


def _remove(family: Family, key: Key, there: Virtual) -> None:
    """Somebody else may be faster."""
    try:
        messages.change_service(family, "del", key, there)
    except KernelError:
        if messages.get(family, key) is not None:
            raise
