"""What methods have in common that mark packets in PREROUTING by nftables, and accept the mark."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vipctl import nft, routing
from vipctl.model import Acceptance, Entry


@dataclass(frozen=True, slots=True)
class Marking:
    """A method made of a table that marks and of rules that accept: see `methods.Method`.

    Acceptance comes before marks, and marks go before the end of acceptance; all or nothing.
    """

    table: nft.Table
    block: routing.Block

    def probe(self) -> tuple[str, ...]:
        nft.declared(self.table.name)
        return ()

    def seal(self, acceptance: Acceptance) -> str | None:
        if routing.read(self.block) != self.block.accepting(acceptance):
            return None
        return self.table.seal(acceptance)

    def apply(
        self,
        before: Acceptance,
        after: Acceptance,
        removed: Iterable[Entry],
        added: Iterable[Entry],
    ) -> None:
        self._commit(after, self.table.changing(before, after, removed, added))

    def load(self, after: Acceptance, entries: Iterable[Entry]) -> None:
        self._commit(after, self.table.replacing(after, entries))

    def holds(self, acceptance: Acceptance, entries: Iterator[Entry]) -> bool:
        return self.table.holds(acceptance, entries)

    def _commit(self, after: Acceptance, commands: str) -> None:
        with routing.changing(self.block, self.block.accepting(after)):
            nft.run(commands)
