"""Sources: what the director believes, and what it must not."""

from ipaddress import ip_address

from tests.conformance.cell import Cell
from tests.conformance.checks import YES, Check
from tests.conformance.checks.traffic import tcp, udp
from tests.conformance.site import Site, vip
from tests.conformance.stages import MARKS_VALID, RP_FILTERS, validation
from tests.harness.waiting import wait_until
from tests.netns import packets

FORGED = {
    "a multicast address": ("224.0.0.5", "ff02::1"),
    "a broadcast address": ("255.255.255.255",),
    "a loopback address": ("127.0.0.1", "::1"),
    "an address of the director": ("10.0.0.1", "fd00::1"),
}
CLIENT = {"eth0": ("10.0.0.2", "fd00::2"), "eth1": ("10.0.1.254", "fd00:1::fe")}
VALIDATIONS = tuple(validation(r, m) for m in MARKS_VALID for r in RP_FILTERS)

TOGETHER = "rp_filter 0, 1 and 2, src_valid_mark 0 and 1"


def _forged(site: Site, cell: Cell) -> str:
    return _arrives(site, cell, _of(FORGED[cell.variant], cell), "eth0")


def _astray(site: Site, cell: Cell) -> str:
    """The client's usual source, by the interface behind which it is not."""
    return _arrives(site, cell, _of(CLIENT["eth0"], cell), "eth1")


def _of(addresses: tuple[str, ...], cell: Cell) -> str:
    return next(text for text in addresses if ip_address(text).version == cell.version)


def _arrives(site: Site, cell: Cell, forged: str, device: str) -> str:
    """Send a forged packet before an honest one: where the second is seen, the first was."""
    target, honest = vip(site, cell), _of(CLIENT[device], cell)
    pair = packets.udp(forged, target), packets.udp(honest, target)
    packets.transmit(site.client, site.director, *pair, device=device)
    wait_until(lambda: (honest, target) in site.arrivals.seen(), "the honest packet arrives")
    return "accepted" if (forged, target) in site.arrivals.pairs else YES


CHECKS = {
    "validation-tcp": Check("TCP works with {}", tcp, variants=VALIDATIONS, together=TOGETHER),
    "validation-udp": Check("UDP works with {}", udp, variants=VALIDATIONS, together=TOGETHER),
    "forged": Check(
        "packets from {} are refused",
        _forged,
        stage="plain",
        variants=tuple(name for name, sources in FORGED.items() if len(sources) == 2),
    ),
    "forged-v4": Check(
        "packets from {} are refused",
        _forged,
        stage="plain",
        variants=tuple(name for name, sources in FORGED.items() if len(sources) == 1),
        versions=(4,),
    ),
    "astray": Check(
        "packets that come by the wrong interface are refused with rp_filter=1",
        _astray,
        stage=validation("1", "0"),
    ),
}
