"""Plain traffic, and ranges and answers that take other ways."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from tests.conformance.cell import PROXY, Cell
from tests.conformance.checks import YES, Check
from tests.conformance.expectations import patience
from tests.conformance.observe import word, worst
from tests.conformance.servers import AT_LENGTH, FRAGMENTED
from tests.conformance.site import Site, vip
from tests.harness.traffic import Reply, tcp_get, tcp_post, udp_ask

UPLOAD = 100_000  # bytes
ATTEMPTS = 20


def balanced(cell: Cell, ask: Callable[[], Reply]) -> str:
    """Ask until every server has answered; the turns of other cells come in between."""
    missing = {f"{PROXY}1"} if cell.forwarding == PROXY else {"real1", "real2"}
    for _ in range(ATTEMPTS):
        reply = ask()
        if word(reply) != YES:
            return word(reply)
        missing.discard(reply.server)
        if not missing:
            return YES
    return f"never {missing.pop()}"


def _tcp(site: Site, cell: Cell) -> str:
    target, limit = vip(site, cell), patience(cell)
    uploaded = word(tcp_post(site.client, target, 80, UPLOAD, timeout=limit))
    return worst(uploaded, balanced(cell, lambda: tcp_get(site.client, target, 80, timeout=limit)))


def _udp(site: Site, cell: Cell) -> str:
    target, limit = vip(site, cell), patience(cell)
    return balanced(cell, lambda: udp_ask(site.client, target, 80, timeout=limit))


def udp(site: Site, cell: Cell, port: int = 80) -> str:
    """Ask for one datagram."""
    return word(udp_ask(site.client, vip(site, cell), port, timeout=patience(cell)))


def _fragments_sent(site: Site, cell: Cell) -> str:
    target, limit = vip(site, cell), patience(cell)
    try:
        return word(udp_ask(site.client, target, 80, FRAGMENTED, timeout=limit))
    except OSError:
        again = word(insistent(site, target, limit))
        return "yes, from the second on" if again == YES else again


def insistent(site: Site, target: str, limit: float) -> Reply:
    """Send a large datagram, once more if the client is told of a smaller MTU, as in IPv6."""
    with suppress(OSError):
        return udp_ask(site.client, target, 80, FRAGMENTED, timeout=limit)
    return udp_ask(site.client, target, 80, FRAGMENTED, timeout=limit)


def tcp(site: Site, cell: Cell) -> str:
    """Ask for one short answer."""
    return word(tcp_get(site.client, vip(site, cell), 80, timeout=patience(cell)))


def _asked_by_director(site: Site, cell: Cell) -> str:
    """As a program on the director that uses the service itself."""
    target, limit = vip(site, cell), patience(cell)
    return worst(
        word(tcp_get(site.director, target, 80, timeout=limit)),
        word(udp_ask(site.director, target, 80, timeout=limit)),
    )


def _both(kind: str, site: Site, cell: Cell) -> str:
    target, limit = vip(site, cell, kind), patience(cell)
    return worst(
        word(tcp_get(site.client, target, 80, timeout=limit)),
        word(udp_ask(site.client, target, 80, timeout=limit)),
    )


CHECKS = {
    "tcp": Check("TCP is balanced", _tcp, stage="plain", crossed=True),
    "udp": Check("UDP is balanced", _udp, stage="plain", crossed=True),
    "fragments-sent": Check(
        "a UDP request of 4,000 bytes, in fragments, arrives",
        _fragments_sent,
        stage="plain",
        crossed=True,
    ),
    "fragments-received": Check(
        "a UDP answer of 4,000 bytes, in fragments, arrives",
        partial(udp, port=AT_LENGTH),
        stage="plain",
        crossed=True,
    ),
    "inside-subnet": Check(
        "VIPs may lie inside a subnet that the upstream is connected to, if it has a route to them",
        partial(_both, "subnet"),
        kind="subnet",
        stage="plain",
    ),
    "answers-through": Check(
        "real servers of dr may answer through the director",
        partial(_both, "back"),
        kind="back",
        stage="plain",
        forwardings=("dr",),
    ),
    "own-client": Check(
        "a program on the director itself can use a VIP", _asked_by_director, stage="plain"
    ),
}
