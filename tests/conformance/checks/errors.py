"""ICMP errors: to a VIP, and of the director about packets for a VIP."""

import socket

from tests.conformance.cell import Cell
from tests.conformance.checks import YES, Check
from tests.conformance.expectations import patience
from tests.conformance.observe import HEADERS, SILENCE, fetch, first_hop, segment, word
from tests.conformance.servers import DOWNLOAD
from tests.conformance.site import FAR_MTU, Site, vip
from tests.conformance.stages import NARROW
from tests.harness.traffic import Connection

UPLOAD = b"x" * 40_000
DIRECTOR = ("10.0.0.1", "10.0.1.1", "fd00::1", "fd00:1::1")
KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def _need_frag_for_server(site: Site, cell: Cell) -> str:
    """Download over a link, beyond the director, that a server learns of from an ICMP error."""
    target = vip(site, cell)
    try:
        with Connection(site.far, target, 80, timeout=patience(cell)) as connection:
            if len(fetch(connection, "/large")) < DOWNLOAD:
                return "lost"
            shrunk = int(fetch(connection, "/segment")) <= FAR_MTU - HEADERS[cell.version]
            return YES if shrunk else "segments do not shrink"
    except TimeoutError:
        return "lost"


def _need_frag_for_client(site: Site, cell: Cell) -> str:
    """Upload over a link, behind the director, that a client learns of from an ICMP error."""
    target = vip(site, cell)
    try:
        with Connection(site.client, target, 80, timeout=patience(cell)) as connection:
            answered = word(connection.ask(UPLOAD))
            shrunk = segment(connection.socket) <= NARROW - HEADERS[cell.version]
            return answered if shrunk else "not needed"
    except TimeoutError:
        return "lost"


def _expires(site: Site, cell: Cell) -> str:
    """Find the director as `traceroute` does."""
    target = vip(site, cell)
    found = first_hop(site.client, target, KINDS[cell.variant], patience(cell))
    if found in DIRECTOR:
        return YES
    return {target: "shows the VIP", SILENCE: "lost", "answered": "not needed"}.get(found, found)


CHECKS = {
    "need-frag-beyond": Check(
        'ICMP "fragmentation needed" of a router on the way to the client reaches the server',
        _need_frag_for_server,
        stage="plain",
        crossed=True,
    ),
    "need-frag-director": Check(
        'ICMP "fragmentation needed" of the director reaches the client, where the way to the '
        "real servers is narrower",
        _need_frag_for_client,
        stage="narrow",
        crossed=True,
    ),
    "ttl": Check(
        "traceroute ({}) to a VIP shows the director",
        _expires,
        stage="plain",
        variants=("udp", "tcp"),
        crossed=True,
    ),
}
