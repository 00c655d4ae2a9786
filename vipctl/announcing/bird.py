"""BIRD 2: static routes that go with a device, and BGP sessions that come back at once. Pure."""

from collections.abc import Iterator

from vipctl.announcing.local import Local, Neighbor, Preference
from vipctl.announcing.routes import Routes, heading


def text(routes: Routes, local: Local) -> str:
    return "\n".join(_lines(routes, local)) + "\n"


def _lines(routes: Routes, local: Local) -> Iterator[str]:
    yield from heading(routes, "bird")
    yield '# In bird.conf, at the start of a line:  include "/etc/bird/vipctl.conf";'
    yield "# birdc configure takes it, or refuses it and keeps the old routes: read what it says."
    yield "# Let protocol kernel export these routes: what no service accepts ends there, instead"
    yield "# of going back to the router."
    for version in routes.versions():
        yield from _static(routes, version, local.track)
    if local.bfd and local.neighbors:
        yield from ("", "protocol bfd vipctl_bfd {", "    accept direct;", "}")
    for at, neighbor in enumerate(local.neighbors, 1):
        yield from _session(f"vipctl_bgp{at}", neighbor, local)


def _static(routes: Routes, version: int, track: str) -> Iterator[str]:
    via = f'via "{track}"' if track else "blackhole"
    yield from ("", f"protocol static vipctl{version} {{", f"    ipv{version};")
    yield from (f"    route {prefix} {via};" for prefix in routes.of(version))
    yield "}"


def _session(name: str, neighbor: Neighbor, local: Local) -> Iterator[str]:
    version = neighbor.address.version
    yield from ("", f"protocol bgp {name} {{")
    yield f"    local as {local.local_as};"
    yield f"    neighbor {neighbor.address} as {neighbor.number};"
    yield "    direct;"
    yield "    hold time 9;"
    yield "    keepalive time 3;"
    yield "    connect delay time 1;"
    yield "    connect retry time 2;"
    yield "    error wait time 1, 3;"
    yield "    graceful restart off;"
    yield from ["    bfd on;"] * local.bfd
    yield f"    ipv{version} {{"
    yield "        import none;"
    yield "        export filter {"
    yield f'            if proto != "vipctl{version}" then reject;'
    yield from (f"            {words}" for words in _worse(neighbor, local))
    yield "            accept;"
    yield "        };"
    yield "    };"
    yield "}"


def _worse(neighbor: Neighbor, local: Local) -> Iterator[str]:
    """Has the router prefer others."""
    if local.preference is not Preference.BACKUP:
        return
    if neighbor.number == local.local_as:
        yield "bgp_local_pref = 50;"
    else:
        yield from [f"bgp_path.prepend({local.local_as});"] * 3
