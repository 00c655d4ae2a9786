"""What `fwmark` and `tproxy` share: nftables marks in PREROUTING, a rule accepts the mark."""

from collections.abc import Iterator
from typing import NamedTuple

from vipctl.linux.nftables import tables, transactions
from vipctl.linux.routing import fwmarks
from vipctl.services.batch import Batch
from vipctl.services.change import Acceptance, Entry
from vipctl.services.seal import OTHER, Seal


class Marking(NamedTuple):
    """A `methods.Method` made of an nftables table that marks and of routing rules that accept.

    The rules are there before the table marks, and go after it: all or nothing.
    """

    table: tables.Table
    block: fwmarks.Block
    chains: tuple[str, ...] = ("prerouting",)  # that mark

    def probe(self) -> tuple[str, ...]:
        tables.probe()
        return ()

    def owner(self) -> str:
        return self.table.owner()

    def seal(self, acceptance: Acceptance) -> Seal:
        if fwmarks.read(self.block) != self.block.accepting(acceptance):
            return OTHER
        return self.table.seal(acceptance)

    def unlike(self, acceptance: Acceptance) -> Iterator[str]:
        yield from self.table.unlike(acceptance)
        yield from fwmarks.unlike(self.block, acceptance)

    def marks(self, _version: int) -> bool:
        return self.table.works(self.chains)

    def apply(self, before: Acceptance, after: Acceptance, removed: Batch, added: Batch) -> int:
        work = self.table.changing(before, after, removed, added)
        if self.block.accepting(before) == self.block.accepting(after):
            return tables.commit(work)  # the rules are there: `seal` has seen them
        return self._commit(after, work)

    def load(self, after: Acceptance, batch: Batch) -> int:
        return self._commit(after, self.table.replacing(after, batch))

    def reroute(self, after: Acceptance) -> bool:
        """Restores the rules alone, if the table has what `after` needs."""
        if not self.table.seal(after).fits:
            return False
        with fwmarks.changing(self.block, self.block.accepting(after)):
            return True

    def epoch(self) -> str:
        return transactions.generation()

    def holds(self, acceptance: Acceptance, batch: Batch, since: str) -> bool:
        return since == transactions.generation() or self.table.holds(acceptance, batch)

    def has(self, entry: Entry, _since: str) -> bool:
        return self.table.has(entry)

    def _commit(self, after: Acceptance, work: tables.Work) -> int:
        with fwmarks.changing(self.block, self.block.accepting(after)):
            return tables.commit(work)
