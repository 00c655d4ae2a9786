"""FRR: static routes that go with a device, and BGP sessions that come back at once. Pure."""

from collections.abc import Iterator

from vipctl.announcing.local import Local, Neighbor, Preference
from vipctl.announcing.routes import Routes, heading

FAMILY = {4: "ip", 6: "ipv6"}


def text(routes: Routes, local: Local) -> str:
    return "\n".join(_lines(routes, local)) + "\n"


def _lines(routes: Routes, local: Local) -> Iterator[str]:
    yield from heading(routes, "frr", "!")
    yield "! A part of frr.conf, which frr-reload.py then has the daemons follow."
    for version in routes.versions():
        yield "!"
        yield from _static(routes, version, local.track)
    if local.neighbors:
        yield from _maps(local)
        yield from _sessions(local)


def _static(routes: Routes, version: int, track: str) -> Iterator[str]:
    family, via = FAMILY[version], track or "Null0"
    yield from (f"{family} route {prefix} {via}" for prefix in routes.of(version))
    for at, prefix in enumerate(routes.of(version), 1):
        yield f"{family} prefix-list vipctl seq {5 * at} permit {prefix}"


def _maps(local: Local) -> Iterator[str]:
    """What is redistributed, what each kind of neighbour is told, and that none is believed."""
    maps: dict[str, list[str]] = {"vipctl": []}
    maps |= {_map(neighbor, local): _worse(neighbor, local) for neighbor in local.neighbors}
    for name, settings in maps.items():
        for at, family in enumerate(FAMILY.values(), 1):
            yield from ("!", f"route-map {name} permit {10 * at}")
            yield f" match {family} address prefix-list vipctl"
            yield from (f" {words}" for words in settings)
    yield from ("!", "route-map vipctl-nothing deny 10")


def _map(neighbor: Neighbor, local: Local) -> str:
    return "vipctl-inside" if neighbor.number == local.local_as else "vipctl-outside"


def _worse(neighbor: Neighbor, local: Local) -> list[str]:
    """Has the router prefer others."""
    if local.preference is not Preference.BACKUP:
        return []
    if neighbor.number == local.local_as:
        return ["set local-preference 50"]
    return ["set as-path prepend" + f" {local.local_as}" * 3]


def _sessions(local: Local) -> Iterator[str]:
    yield from ("!", f"router bgp {local.local_as}", " no bgp default ipv4-unicast")
    for neighbor in local.neighbors:
        name = f" neighbor {neighbor.address}"
        yield f"{name} remote-as {neighbor.number}"
        yield f"{name} timers 3 9"
        yield f"{name} timers connect 2"
        yield f"{name} graceful-restart-disable"
        yield from [f"{name} bfd"] * local.bfd
    for version in (4, 6):
        told = [n for n in local.neighbors if n.address.version == version]
        if told:
            yield from _family(version, told, local)


def _family(version: int, told: list[Neighbor], local: Local) -> Iterator[str]:
    yield from (" !", f" address-family ipv{version} unicast")
    yield "  redistribute static route-map vipctl"
    for neighbor in told:
        name = f"  neighbor {neighbor.address}"
        yield f"{name} activate"
        yield f"{name} route-map vipctl-nothing in"
        yield f"{name} route-map {_map(neighbor, local)} out"
    yield " exit-address-family"
