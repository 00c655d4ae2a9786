"""keepalived: one next hop under VRRP, for which the router has routes. Pure.

Both directors accept packets always: who gets them is decided by who has the next hop.
"""

from collections.abc import Iterator
from typing import NamedTuple

from vipctl.addresses.prefixes import texts
from vipctl.addresses.spans import Spans
from vipctl.announcing.local import Interface, Local, Preference
from vipctl.announcing.routes import Routes, heading

PRIORITY = {Preference.PRIMARY: 150, Preference.BACKUP: 100}
AGAIN = (  # what ends a router's belief in the former director, after a split brain
    "vrrp_garp_lower_prio_repeat 3",
    "vrrp_garp_lower_prio_delay 0",
    "vrrp_higher_prio_send_advert true",
    "vrrp_garp_master_refresh 10",
)


class Instance(NamedTuple):
    """One of VRRP: addresses of one IP version on one interface."""

    name: str
    interface: str
    number: int
    addresses: list[Interface]
    ended: list[str]  # prefixes of which not all is accepted: the rest is not to go back


def text(routes: Routes, local: Local) -> str:
    return "\n".join(_lines(routes, local)) + "\n"


def _lines(routes: Routes, local: Local) -> Iterator[str]:
    yield from heading(routes, "keepalived")
    yield "# In keepalived.conf:  include /etc/keepalived/vipctl.conf"
    yield "# The router has, whichever director is the master:"
    for version in routes.versions():
        hop = next(hop.ip for hop in local.next_hops if hop.version == version)
        yield from (f"#   {prefix} via {hop}" for prefix in routes.of(version))
    yield from ("", "global_defs {")
    yield from ["    dynamic_interfaces allow_if_changes"] * bool(local.track)
    yield from [f"    vrrp_notify_fifo {local.notify}"] * bool(local.notify)
    yield from (f"    {setting}" for setting in AGAIN)
    yield "}"
    instances = list(_instances(routes, local))
    if len(instances) > 1:
        yield from ("", "vrrp_sync_group vipctl {", "    group {")
        yield from (f"        {instance.name}" for instance in instances)
        yield from ("    }", "}")
    for instance in instances:
        yield from _instance(instance, local)


def _instances(routes: Routes, local: Local) -> Iterator[Instance]:
    for version in routes.versions():
        hops = [hop for hop in local.next_hops if hop.version == version]
        name, ended = f"vipctl_hop{version}", list(_ended(routes, version))
        yield Instance(name, local.interface, local.vrid, hops, ended)
    for version in (4, 6):
        if inner := [found for found in local.gateways if found.version == version]:
            name = f"vipctl_gateway{version}"
            yield Instance(name, local.gateway_interface, local.vrid + 1, inner, [])


def _ended(routes: Routes, version: int) -> Iterator[str]:
    covered: Spans = routes.covered.spans(version)
    return texts(covered.overlapping(routes.extra.spans(version)))


def _instance(found: Instance, local: Local) -> Iterator[str]:
    yield from ("", f"vrrp_instance {found.name} {{")
    yield "    version 3"
    yield "    state BACKUP"
    yield f"    interface {found.interface}"
    yield f"    virtual_router_id {found.number}"
    yield f"    priority {PRIORITY[local.preference]}"
    yield f"    advert_int {local.advert:g}"
    yield from _block("virtual_ipaddress", map(str, found.addresses))
    if local.track:
        yield from _block("track_interface", [local.track])
    if found.ended:
        yield from _block("virtual_routes", (f"blackhole {p} no_track" for p in found.ended))
    yield "}"


def _block(name: str, lines: Iterator[str] | list[str]) -> Iterator[str]:
    yield f"    {name} {{"
    yield from (f"        {line}" for line in lines)
    yield "    }"
