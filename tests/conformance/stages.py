"""What the director may be put through while cells are measured, in this order.

The order matters twice: --ping brings connection tracking for good, and the last stage leaves the
services without IPVS.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from tests.conformance.plan import REALS, WHOLE
from tests.conformance.site import Site
from tests.harness.guest import REPOSITORY

Stage = Callable[[Site], AbstractContextManager[None]]

NARROW = 1400  # bytes that pass the director's way to the real servers
RP_FILTERS = ("0", "1", "2")
MARKS_VALID = ("0", "1")
FIREWALL = """
table inet firewall {
    chain input { type filter hook input priority 0; ct state invalid drop; }
    chain forward { type filter hook forward priority 0; ct state invalid drop; }
}
"""

RECIPES = REPOSITORY / "examples" / "firewall"
NETWORKS = {4: "203.0.113.0/24", 6: "2001:db8:1::/64"}  # of VIPs, in route.nft

TRACKING = """
table inet tracking {
    chain input { type filter hook input priority 0; ct state new counter; }
}
"""


def validation(rp_filter: str, src_valid_mark: str) -> str:
    """Return the name of the stage in which the director validates sources so."""
    return f"rp_filter={rp_filter} src_valid_mark={src_valid_mark}"


def firewall(conntrack: str) -> str:
    """Return the name of the stage with a stateful firewall."""
    return f"net.ipv4.vs.conntrack={conntrack}"


def recipe(conntrack: str) -> str:
    """Return the name of the stage with the firewall of docs/firewall.md."""
    return f"docs/firewall.md, net.ipv4.vs.conntrack={conntrack}"


@contextmanager
def _narrow(site: Site) -> Iterator[None]:
    """The director's way to the real servers takes smaller packets than its way to the client."""
    routes = [f"{real} dev eth1 mtu {NARROW}" for reals in REALS.values() for real in reals]
    site.director.ip(*(f"route add {route}" for route in routes))
    try:
        yield
    finally:
        site.director.ip(*(f"route del {route}" for route in routes))


@contextmanager
def _validating(rp_filter: str, src_valid_mark: str, site: Site) -> Iterator[None]:
    """Reverse-path filtering, strict or loose; interfaces have 0, and the larger counts."""
    wanted = {"rp_filter": rp_filter, "src_valid_mark": src_valid_mark}
    try:
        for name, value in wanted.items():
            site.director.sysctl(f"net.ipv4.conf.all.{name}", value)
        yield
    finally:
        for name in wanted:
            site.director.sysctl(f"net.ipv4.conf.all.{name}", 0)


@contextmanager
def _firewalled(conntrack: str, site: Site) -> Iterator[None]:
    """Whatever is not of a known connection is dropped."""
    site.director.sysctl("net.ipv4.vs.conntrack", conntrack)
    site.director.run(["nft", "-f", "-"], input=FIREWALL)
    try:
        yield
    finally:
        site.director.run(["nft", "delete", "table", "inet", "firewall"])
        site.director.sysctl("net.ipv4.vs.conntrack", 0)


@contextmanager
def _within_recipe(conntrack: str, site: Site) -> Iterator[None]:
    """What the recipe does not let through is dropped."""
    site.director.sysctl("net.ipv4.vs.conntrack", conntrack)
    site.director.run(["nft", "-f", str(RECIPES / "director.nft")])
    if site.method == "route":
        text = (RECIPES / "route.nft").read_text()
        for version, network in NETWORKS.items():
            text = text.replace(network, str(WHOLE[version]))
        site.director.run(["nft", "-f", "-"], input=text)
    try:
        yield
    finally:
        site.director.run(["nft", "delete", "table", "inet", "director"])
        site.director.sysctl("net.ipv4.vs.conntrack", 0)


@contextmanager
def _tracked(site: Site) -> Iterator[None]:
    """Connections are tracked, as the translation of what FTP names needs it."""
    site.director.run(["nft", "-f", "-"], input=TRACKING)
    try:
        yield
    finally:
        site.director.run(["nft", "delete", "table", "inet", "tracking"])


@contextmanager
def _translated(site: Site) -> Iterator[None]:
    """A service with source NAT has the kernel track what IPVS does, for all services."""
    try:
        yield
    finally:
        site.end("snat", "nat")


@contextmanager
def _abandoned(site: Site) -> Iterator[None]:
    """Somebody has deleted the IPVS services; no local proxy runs."""
    site.director.run(["ipvsadm", "--clear"])
    site.close_proxies()
    try:
        yield
    finally:
        site.open_proxies()
        site.vipctl("restore")


def _as_built(_site: Site) -> AbstractContextManager[None]:
    return nullcontext()


STAGES: dict[str, Stage] = {
    "plain": _as_built,
    "narrow": _narrow,
    **{validation(r, m): partial(_validating, r, m) for m in MARKS_VALID for r in RP_FILTERS},
    **{firewall(value): partial(_firewalled, value) for value in ("0", "1")},
    **{recipe(value): partial(_within_recipe, value) for value in ("0", "1")},
    "tracked": _tracked,
    "translated": _translated,
    "arp": _as_built,
    "pinged": _as_built,
    "abandoned": _abandoned,
}
