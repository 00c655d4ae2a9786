"""IPVS's sync daemons: a master sends connections to other directors, a backup takes theirs.

Each director has both, so that connections which one takes over are known to the other again.
Numbers are from include/uapi/linux/ip_vs.h.
"""

import _socket
import errno
from collections.abc import Container
from ipaddress import IPv4Address
from typing import NamedTuple

from vipctl import log
from vipctl.errors import Missing, Refused
from vipctl.linux import multicast, netlink
from vipctl.linux.genetlink import Family, parsed
from vipctl.linux.ipvs import messages
from vipctl.linux.netlink import NLA_F_NESTED, NUMBER, attribute
from vipctl.services.sync import Sync

NEW, DEL, GET = 9, 10, 11  # IPVS_CMD_…_DAEMON
DAEMON = 3  # IPVS_CMD_ATTR_DAEMON
STATE, INTERFACE, ID, GROUP = 1, 2, 3, 5  # IPVS_DAEMON_ATTR_…
ROLES = {"master": 1, "backup": 2}  # IP_VS_STATE_…
HINTS = {
    errno.ENODEV: "ip link shows the interfaces",
    errno.EADDRNOTAVAIL: "it sends by IPv4: give the interface an address",
    errno.EINVAL: "with real servers of another address family than their VIP (family=both) IPVS "
    "synchronises nothing",
}
Running = dict[str, Sync]  # by role


class Told(NamedTuple):
    """The daemons that the kernel has; `deaf`: the interface of the backup has gone.

    It, and a master that was begun there too, stay with the one that has gone, whatever has its
    name afterwards.
    """

    daemons: Running
    deaf: bool

    def running(self) -> Running:
        gone = self.daemons["backup"].interface if self.deaf else None
        return {role: one for role, one in self.daemons.items() if one.interface != gone}


def running() -> Running:
    """Those that are on their interface. Raises Missing where there is no IPVS."""
    with messages.connect() as family:
        return _told(family).running()


def _told(family: Family) -> Told:
    names = {number: role for role, number in ROLES.items()}
    found: Running = {}
    deaf = False
    for message in family.dump(GET, b""):
        daemon = parsed(message[DAEMON])
        role = names[NUMBER.unpack(daemon[STATE])[0]]
        interface = daemon[INTERFACE].rstrip(b"\0").decode()
        found[role] = Sync(interface, NUMBER.unpack(daemon[ID])[0])
        if role == "backup" and (group := daemon.get(GROUP)):
            deaf = not multicast.heard(IPv4Address(group), interface)
    return Told(found, deaf)


def complete(wanted: Sync, present: Running) -> bool:
    return present == dict.fromkeys(ROLES, wanted)


def refuse(wanted: Sync, ours: Container[Sync]) -> None:
    """Raises what stands in the way: there is no such interface, or there are others' daemons."""
    try:
        _socket.if_nametoindex(wanted.interface)
    except OSError as e:
        raise Missing(f"there is no interface {wanted.interface}", hint=HINTS[errno.ENODEV]) from e
    for role, found in running().items():
        if found != wanted and found not in ours:
            raise Refused(
                f"IPVS has a sync daemon that is not vipctl's ({role} on {found})",
                hint=f"ipvsadm --stop-daemon {role}, and nobody is to start it again",
            )


def bring(wanted: Sync | None, former: Container[Sync] = ()) -> None:
    """Has both daemons run as wanted, and none as one of `former`. Raises KernelError, Missing."""
    with messages.connect() as family:
        told = _told(family)
        present = told.running()
        for role, one in told.daemons.items():
            if present.get(role) != wanted if wanted else one in former:
                _stop(family, role)
        for role in ROLES if wanted else ():
            if wanted and present.get(role) != wanted:
                _start(family, role, wanted)


def _start(family: Family, role: str, sync: Sync) -> None:
    log.debug("ipvs: start %s on %s", role, sync)
    content = attribute(INTERFACE, sync.interface.encode() + b"\0")
    content += attribute(ID, NUMBER.pack(sync.id))
    _do(family, NEW, role, content, f"start the sync {role} on {sync.interface}")


def _stop(family: Family, role: str) -> None:
    log.debug("ipvs: stop %s", role)
    _do(family, DEL, role, b"", f"stop the sync {role}", errno.ESRCH)


def _do(family: Family, command: int, role: str, content: bytes, what: str, done: int = 0) -> None:
    """Raises KernelError, unless the kernel says by the errno `done` that it is so already."""
    state = attribute(STATE, NUMBER.pack(ROLES[role]))
    failure = family.do(command, attribute(DAEMON | NLA_F_NESTED, state + content))
    if failure not in (0, done):
        hint = HINTS.get(failure, "see what is there: ipvsadm -L --daemon")
        raise netlink.refusal(f"IPVS: {what}", failure, hint)
