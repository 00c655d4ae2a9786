"""What the director may be put through while cells are measured, in this order.

The order matters twice: --ping brings connection tracking for good, and the last stage leaves the
services without IPVS.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from tests.conformance.plan import REALS
from tests.conformance.site import Site

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
def _tracked(site: Site) -> Iterator[None]:
    """Connections are tracked, as the translation of what FTP names needs it."""
    site.director.run(["nft", "-f", "-"], input=TRACKING)
    try:
        yield
    finally:
        site.director.run(["nft", "delete", "table", "inet", "tracking"])


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
    "tracked": _tracked,
    "arp": _as_built,
    "pinged": _as_built,
    "abandoned": _abandoned,
}
