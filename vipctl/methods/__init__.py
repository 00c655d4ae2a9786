"""Methods: ways to make packets for VIPs reach LOCAL_IN with their service's fwmark."""

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Protocol, cast

from vipctl.errors import UsageError
from vipctl.model import Acceptance, Entry

NAMES = ("fwmark",)


class Method(Protocol):
    """One module of this package, acting on the calling thread's network namespace."""

    def probe(self) -> None:
        """Raises Missing, with the reason and the cure, where the director cannot do this."""

    def seal(self, acceptance: Acceptance) -> str | None:
        """A digest of all that is ours in the kernel but the prefixes themselves; O(1) in those.

        It changes when somebody else changes what is ours. "" stands for nothing at all, None for
        something else than `acceptance` needs.
        """

    def apply(
        self,
        before: Acceptance,
        after: Acceptance,
        removed: Iterable[Entry],
        added: Iterable[Entry],
    ) -> None:
        """From one state to the next in one step, or not at all. Raises KernelError."""

    def load(self, after: Acceptance, entries: Iterable[Entry]) -> None:
        """Replaces whatever is there in one step, or not at all. Raises KernelError."""

    def holds(self, acceptance: Acceptance, entries: Iterator[Entry]) -> bool:
        """Whether the kernel has exactly these prefixes. Reads them all: slow."""


def get(name: str) -> Method:
    """Raises UsageError for a name that is not a method."""
    if name not in NAMES:
        raise UsageError(f"{name!r} is not a method", hint="one of " + " ".join(NAMES))
    return cast(Method, import_module(f"{__name__}.{name.replace('-', '_')}"))
