"""The matrix: every cell, and the part of it that each run of the tests measures."""

from collections.abc import Iterator

from tests.conformance.cell import FORWARDINGS, IPVS, PROXY, VERSIONS, Cell
from tests.conformance.checks import Check, groups
from vipctl.methods import NAMES

GROUPS = groups()
CHECKS = {name: check for group in GROUPS.values() for name, check in group.items()}
ANSWERING = {"tproxy": (PROXY,)}  # methods that do not leave the balancing to IPVS


def everything() -> list[Cell]:
    """Return all cells, numbered."""
    return [
        Cell(method, version, forwarding, name, variant, serial)
        for serial, (method, version, forwarding, name, variant) in enumerate(_coordinates(), 1)
    ]


def covering() -> list[Cell]:
    """Return the cells that stand for all.

    Crossed checks are there with each forwarding, others with one. Of variants it is every other:
    what one IP version has not, the other has, and so for neighbouring methods and forwardings.
    """
    return [cell for cell in everything() if _covers(cell, CHECKS[cell.check])]


def _coordinates() -> Iterator[tuple[str, int, str, str, str]]:
    for method in NAMES:
        for name, check in CHECKS.items():
            for forwarding in ANSWERING.get(method, IPVS):
                if forwarding not in check.forwardings:
                    continue
                for version in check.versions:
                    for variant in check.variants:
                        yield method, version, forwarding, name, variant


def _covers(cell: Cell, check: Check) -> bool:
    if not check.crossed and cell.forwarding not in (check.forwardings[0], PROXY):
        return False
    place = (
        NAMES.index(cell.method) + FORWARDINGS.index(cell.forwarding) + VERSIONS.index(cell.version)
    )
    return len(check.variants) == 1 or (place + check.variants.index(cell.variant)) % 2 == 0
