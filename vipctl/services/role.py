"""The role: whether a director accepts packets for its VIPs, or leaves them to another one. Pure.

It is of one director alone: `export` does not tell it, and `apply` leaves it as it is.
"""

from typing import Any, NamedTuple, Self


class Role(NamedTuple):
    """`passive`: the whole director is; `services`: the names of those that are by themselves."""

    passive: bool = False
    services: frozenset[str] = frozenset()

    def of(self, name: str) -> str:
        """Of a service, in a word."""
        return word(passive=self.passive or name in self.services)

    def switched(self, name: str | None, *, passive: bool) -> Self:
        """With that of a service changed; without a name, of the director, and of no service."""
        if name is None:
            return self._replace(passive=passive)
        return self._replace(services=self.services | {name} if passive else self.services - {name})


ACTIVE = Role()


def word(*, passive: bool) -> str:
    return "passive" if passive else "active"


def plain(role: Role) -> dict[str, Any]:
    """As the store writes it."""
    return {"passive": role.passive, "services": sorted(role.services)}


def from_plain(form: dict[str, Any]) -> Role:
    """The inverse of `plain`; what is absent is active."""
    return Role(form.get("passive", False), frozenset(form.get("services", ())))
