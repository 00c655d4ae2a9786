"""What is measured: small functions that return the word for what they saw, "yes" if all is well.

A check says which kind of service it needs (`tests.conformance.services`), in which stage the
director has to be (`tests.conformance.stages`), and where it makes sense.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.conformance.cell import FORWARDINGS, VERSIONS, Cell

if TYPE_CHECKING:
    from tests.conformance.site import Site

YES = "yes"
Measure = Callable[["Site", Cell], str]


@dataclass(frozen=True, slots=True)
class Check:
    """A measurement; its `title` is what an operator reads, with the variant in place of {}.

    The covering part has those that are `crossed` for every forwarding, the others for one.
    Without a `stage`, the variant names it. `together` names all variants where they do not differ.
    """

    title: str
    measure: Measure
    kind: str = "all"
    stage: str = ""
    variants: tuple[str, ...] = ("",)
    together: str = ""
    versions: tuple[int, ...] = VERSIONS
    forwardings: tuple[str, ...] = FORWARDINGS
    crossed: bool = False

    def stage_of(self, cell: Cell) -> str:
        """Return the stage that a cell is measured in."""
        return self.stage or cell.variant


def groups() -> dict[str, dict[str, Check]]:
    """Return checks by name, by what they are about, in the order in which an operator reads."""
    from tests.conformance.checks import (
        errors,
        exposure,
        firewalls,
        options,
        ports,
        sources,
        traffic,
    )

    return {
        "Traffic": traffic.CHECKS,
        "Options": options.CHECKS,
        "ICMP errors": errors.CHECKS,
        "Ports, pings, ARP": ports.CHECKS,
        "The director's own servers": exposure.CHECKS,
        "Sources": sources.CHECKS,
        "Stateful firewalls": firewalls.CHECKS,
    }
