"""What is announced: prefixes that cover what is held, and which of these hold more. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from vipctl.addresses.aggregates import covering
from vipctl.addresses.prefixes import AddressSet, texts


class Routes(NamedTuple):
    """`extra` are the addresses that are announced, and that nobody holds."""

    covered: AddressSet
    extra: AddressSet

    def of(self, version: int) -> Iterator[str]:
        return texts(self.covered.spans(version))

    def versions(self) -> list[int]:
        return [version for version in (4, 6) if self.covered.spans(version)]


def of(held: AddressSet, most: int) -> Routes:
    """At most so many of each IP version. Raises Refused."""
    covered = AddressSet(covering(held.v4, most), covering(held.v6, most))
    return Routes(covered, AddressSet(covered.v4 - held.v4, covered.v6 - held.v6))


def heading(routes: Routes, kind: str, sign: str = "#") -> Iterator[str]:
    """Says what made a snippet, and what is announced."""
    number, more = routes.covered.count(), routes.extra.size()
    yield f"{sign} Made by vipctl announce --print {kind}: after ranges change, make it anew."
    held = f"{more:,} of their addresses are of no service" if more else "all are of services"
    yield f"{sign} {number:,} route{'' if number == 1 else 's'}; {held}."
