"""The matrix: every cell, and the part of it that each run of the tests measures."""

from collections.abc import Iterator

from tests.conformance.cell import IPVS, PROXY, Cell
from tests.conformance.checks import Check, all_checks
from vipctl.methods import NAMES

CHECKS = all_checks()
FORWARDINGS = {"tproxy": (PROXY,)}  # of methods that do not leave the balancing to IPVS


def everything() -> list[Cell]:
    """Return all cells, numbered."""
    return [
        Cell(method, version, forwarding, name, variant, serial)
        for serial, (method, version, forwarding, name, variant) in enumerate(_coordinates(), 1)
    ]


def covering() -> list[Cell]:
    """Return the cells that stand for all: crossed checks whole, of others one forwarding."""
    return [cell for cell in everything() if _covers(CHECKS[cell.check], cell.forwarding)]


def _coordinates() -> Iterator[tuple[str, int, str, str, str]]:
    for method in NAMES:
        for name, check in CHECKS.items():
            for forwarding in FORWARDINGS.get(method, IPVS):
                if forwarding not in check.forwardings:
                    continue
                for version in check.versions:
                    for variant in check.variants:
                        yield method, version, forwarding, name, variant


def _covers(check: Check, forwarding: str) -> bool:
    return check.crossed or forwarding in (check.forwardings[0], PROXY)
