"""What a director that synchronises connections with others should know, and how that stands."""

from collections.abc import Iterator, Mapping
from typing import Any

from vipctl.errors import Missing
from vipctl.linux import sysctl
from vipctl.linux.ipvs import daemons
from vipctl.linux.ipvs.messages import BY_ORDER
from vipctl.reconcile import lacking
from vipctl.services.change import Change
from vipctl.services.service import Service
from vipctl.state.store import Store

LOOSE = "net.netfilter.nf_conntrack_tcp_loose"
SLOPPY = "net.ipv4.vs.sloppy_tcp"
NONE: Mapping[str, str] = {}


def seen(store: Store) -> dict[str, Any] | None:
    """The sync that is stored, and which of its daemons run so; None if there is none."""
    if (wanted := store.sync()) is None:
        return None
    try:
        found = daemons.running()
    except Missing:
        found = {}
    return wanted._asdict() | {role: found.get(role) == wanted for role in daemons.ROLES}


def warnings(
    store: Store, change: Change = lacking.NO_CHANGE, coming: Mapping[str, str] = NONE
) -> Iterator[str]:
    """Combinations with which connections do not survive the loss of a director.

    Nothing of a director that is alone. `coming` are sysctls that the change will set.
    """
    if not lacking.synchronised(store, change):
        return
    if sysctl.read(LOOSE) == "0":
        yield (
            f"{LOOSE} is 0: connection tracking refuses TCP connections that another director "
            "began; set it to 1"
        )
    if coming.get(SLOPPY, sysctl.read(SLOPPY)) == "1":
        return
    for service in lacking.after(store, change):
        if _chooses_alike(service):
            yield (
                f"service {service.name!r} has every director choose alike ({service.scheduler}), "
                "but a connection that is not synchronised yet is refused by another director: "
                "vipctl set-director --sloppy-tcp yes"
            )


def _chooses_alike(service: Service) -> bool:
    return service.balanced and service.scheduler.name in BY_ORDER
