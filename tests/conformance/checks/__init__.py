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


def all_checks() -> dict[str, Check]:
    """Return every check by name, in the order in which an operator reads them."""
    from tests.conformance.checks import errors, exposure, firewalls, ports, sources, traffic

    modules = (traffic, errors, ports, exposure, sources, firewalls)
    return {name: check for module in modules for name, check in module.CHECKS.items()}
