"""The kernel: what it has of the stored state, its settings, and how full its tables are."""

from collections.abc import Iterator

from vipctl.diagnosis import tracking
from vipctl.diagnosis.causes import RESTORE, set_sysctls
from vipctl.diagnosis.director.site import Site
from vipctl.diagnosis.steps import Step, ill, well
from vipctl.errors import Refused
from vipctl.linux import devices, sysctl, timeouts
from vipctl.linux.routing import ways
from vipctl.operate import unbalanced
from vipctl.operate.changing import booted_since
from vipctl.reconcile import looking
from vipctl.reconcile.lacking import Problem
from vipctl.reconcile.looking import Found
from vipctl.services.change import Change

STATUS = "vipctl status"
ALL_OF_IPV6 = {(6, 0)}  # tables
FILLING = 0.9


def ipvs(site: Site) -> Iterator[Step]:
    name, evidence = "ipvs", "cat /proc/net/ip_vs"
    if not site.balanced:
        return
    if timeouts.read("ipvs timeout tcp") is not None:
        yield well(name, "the kernel has IPVS", evidence)
        return
    lacks = timeouts.absent()
    yield ill(name, "no-ipvs", lacks.message, lacks.hint or "", evidence)


def of_others(site: Site) -> Iterator[Step]:
    """Services that are balanced by what others have IPVS do; no IPVS at all is told by `ipvs`."""
    if timeouts.read("ipvs timeout tcp") is not None:
        for one in unbalanced.found(site.store, site.services):
            yield ill("ipvs", "ipvs-service-missing", one.says, one.hint, "ipvsadm -Ln")


def stored(site: Site) -> Iterator[Step]:
    """Not every prefix is compared, as by `status`."""
    name = "state"
    if booted_since(site.store):
        says = "the director has been booted since, and VIPs are not restored"
        yield ill(name, "not-restored", says, RESTORE, STATUS)
        return
    found = looking.look(site.store, Change(before=site.services))
    looking.foresee(site.store, found)
    if problems := _lacking(site, found):
        yield from (ill(name, "lacking", str(one), one.hint, STATUS) for one in problems)
        return
    differing = sorted(found.differing())
    if not differing:
        yield well(name, "what the kernel has is as stored", STATUS)
        return
    try:
        looking.refuse_taken_over(site.store)
    except Refused as e:
        yield ill(name, "taken-over", e.message, e.hint or "", STATUS)
        return
    more = f" and {len(differing) - 1} more" if differing[1:] else ""
    says = f"what the kernel has is not as stored: {differing[0]}{more}"
    yield ill(name, "kernel-differs", says, RESTORE, STATUS)


def _lacking(site: Site, found: Found) -> list[Problem]:
    """What the director cannot have, but for IPVS as a whole, which `ipvs` tells.

    To restore is a part of each cure.
    """
    if timeouts.read("ipvs timeout tcp") is None:
        found.lacking.balanced, found.lacking.sync = {}, None
        found.lacking.sysctls = {
            name: error
            for name, error in found.lacking.sysctls.items()
            if not name.startswith("net.ipv4.vs.")
        }
    return list(found.lacking.problems(site.store))


def sysctls(site: Site) -> Iterator[Step]:
    """What services need together; where that is not so, the service that it is for is named."""
    name = "sysctls"
    needed = sysctl.needed(site.services)
    missed = sysctl.missed(needed, site.services)
    if needed and not missed:
        yield well(name, "sysctls are as services need them", STATUS)
    for key, value in missed.items():
        of = next(s for s in site.services if key in sysctl.needed([s]))
        says = f"{key} is {sysctl.read(key)}, and service {of.name!r} needs {value}"
        yield ill(name, "sysctl", says, set_sysctls(of), f"sysctl {key}")


def conntrack(_site: Site) -> Iterator[Step]:
    """A limit of 0 is none."""
    name, (used, most) = "conntrack", tracking.used()
    if not (used and most):
        return
    says = f"{used:,} of {most:,} connections are tracked"
    fix = f"sysctl -w {tracking.MOST}={2 * most}"
    if used >= most:
        says += ": the kernel drops new ones"
        yield ill(name, "conntrack-full", says, fix, tracking.EVIDENCE)
    elif used >= FILLING * most:
        says += ": when all are, the kernel drops new ones"
        yield ill(name, "conntrack-filling", says, fix, tracking.EVIDENCE)
    else:
        yield well(name, says, tracking.EVIDENCE)


def advertised(site: Site) -> Iterator[Step]:
    """A router's advertisements give no default route to a host that forwards."""
    name = "default route"
    if 6 not in site.versions or sysctl.read(sysctl.FORWARD6) != "1" or ways.defaults(ALL_OF_IPV6):
        return
    for device in devices.configured_by_routers():
        key = f"net.ipv6.conf.{device.translate(sysctl.SWAPPED)}.accept_ra"
        if sysctl.read(key) == "1":
            says = (
                f"no IPv6 default route: the director forwards and {key} is 1, so it takes none "
                "from routers"
            )
            yield ill(name, "advertisements-ignored", says, f"sysctl -w {key}=2", "ip -6 route")
            return
