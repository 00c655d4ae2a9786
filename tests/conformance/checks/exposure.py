"""The director's own sockets, which nobody should reach through a VIP."""

from functools import partial

from tests.conformance.cell import Cell
from tests.conformance.checks import YES, Check
from tests.conformance.site import OWN_TCP, OWN_UDP, Site, vip
from tests.harness.traffic import tcp_get, udp_ask

LIMIT = 2.5  # seconds until silence is taken for silence


def _own(kind: str, site: Site, cell: Cell) -> str:
    """Whatever else becomes of a client, it is not that the director's own server hears of it."""
    target = vip(site, cell, kind)
    if cell.variant == "UDP":
        udp_ask(site.client, target, OWN_UDP, timeout=LIMIT)
        return "reached" if any(target in server.reached for server in site.own) else YES
    return "answered" if tcp_get(site.client, target, OWN_TCP, timeout=LIMIT).answered else YES


CHECKS = {
    "own-server": Check(
        "the director's own {} servers are not reached through a VIP",
        partial(_own, "ports"),
        kind="ports",
        stage="plain",
        variants=("TCP", "UDP"),
    ),
    "own-server-abandoned": Check(
        "nor when somebody has deleted the IPVS services, or no local proxy runs ({})",
        partial(_own, "all"),
        stage="abandoned",
        variants=("TCP", "UDP"),
    ),
}
