"""A method's nftables table, and how it gets from one state to another in one transaction."""

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, NamedTuple

from vipctl import digests
from vipctl.addresses.few import WIDTH
from vipctl.linux.nftables import elements, listing, transactions
from vipctl.linux.nftables.elements import Edit
from vipctl.linux.nftables.ruleset import Chains, counter_name, counter_of, map_name
from vipctl.linux.nftables.transactions import Message, Owned
from vipctl.services import seal
from vipctl.services.batch import Batch, by_shape, same
from vipctl.services.change import NOTHING, Acceptance, Entry, Shape
from vipctl.services.seal import Seal

if TYPE_CHECKING:
    from vipctl.linux.nftables.replay import Drawn

DRAFT = "vipctl_draft"  # where rules are compiled
OWNER = "vipctl state "  # begins a table's comment; the token of the state directory follows


class Table(NamedTuple):
    """An nftables table: a map for each shape, the chains that `ruleset` draws, and counters."""

    name: str
    ruleset: Callable[[Acceptance], Chains]
    family: str = "inet"
    counts: tuple[str, ...] = ()  # what it counts of each service

    @property
    def path(self) -> str:
        return f"{self.family} {self.name}"

    @property
    def owned(self) -> Owned:
        return Owned(self.family, self.name)

    def owner(self) -> str:
        """The token of the state directory whose table it is; "" if its comment does not say."""
        said = listing.comment(self.owned)
        return said.removeprefix(OWNER) if said.startswith(OWNER) else ""

    def seal(self, acceptance: Acceptance) -> Seal:
        chains = self.ruleset(acceptance)
        found = listing.read(self.owned, chains)
        if found is None or not acceptance.active():
            return seal.OTHER if found or acceptance.active() else seal.ABSENT
        wanted = (
            _comment(acceptance),
            set(map(map_name, acceptance.shapes)),
            {name: len(lines) for name, (_, lines) in chains.items()},
        )
        complete = found.complete(len(self.counters(acceptance)))
        if not complete or (found.comment, found.maps, found.lengths()) != wanted:
            return seal.OTHER
        return Seal(digests.of(found.words()))

    def unlike(self, acceptance: Acceptance) -> Iterator[str]:
        """What `seal` finds otherwise than it should be, in words."""
        chains = self.ruleset(acceptance)
        found, table = listing.read(self.owned, chains), f"the nftables table {self.path}"
        if found is None or not acceptance.active():
            if (found is None) is acceptance.active():
                yield f"{table} is {'there, and should not be' if found else 'not there'}"
            return
        if found.comment != _comment(acceptance):
            yield f"{table} has the comment {found.comment!r}, not that of this state directory"
        wanted = set(map(map_name, acceptance.shapes))
        yield from (f"{table}: map {name} is not there" for name in sorted(wanted - found.maps))
        yield from (f"{table}: map {name} is not vipctl's" for name in sorted(found.maps - wanted))
        present = found.lengths()
        for name, (_, lines) in chains.items():
            if name not in present:
                yield f"{table}: chain {name} is not there"
            elif present[name] != len(lines):
                yield f"{table}: chain {name} has {present[name]} rules, should have {len(lines)}"
        if not found.complete(len(self.counters(acceptance))):
            yield f"{table} has a chain, or a counter, that is not vipctl's"

    def works(self, names: Collection[str]) -> bool:
        """Whether it is there, not dormant, and each of these chains has a rule."""
        found = listing.read(self.owned, names)
        return found is not None and not found.dormant and all(map(found.lengths().get, names))

    def counters(self, acceptance: Acceptance) -> list[str]:
        """The names of those that it is to have."""
        services = acceptance.services if acceptance.active() else ()
        return [counter_name(kind, s.fwmark) for kind in self.counts for s in services]

    def packets(self) -> dict[int, dict[str, int]]:
        """What it has counted, by mark. Raises Missing."""
        found: dict[int, dict[str, int]] = {}
        for name, counter in listing.counters(self.owned).items():
            if counted := counter_of(name):
                kind, mark = counted
                found.setdefault(mark, {})[kind] = listing.packets(counter)
        return found

    def changing(
        self, before: Acceptance, after: Acceptance, removed: Batch, added: Batch
    ) -> "Work":
        """From one state to the next."""
        if not (before.active() and after.active()):
            return self.replacing(after, added)
        stale = before.shapes - after.shapes
        kept = {key: found for key, found in removed.items() if key[0] not in stale}
        return Work(self, before, after, self._edits(kept, added))

    def replacing(self, after: Acceptance, batch: Batch) -> "Work":
        """From whatever there is to `after`: the old table is replaced in the same transaction."""
        return Work(self, NOTHING, after, self._edits({}, batch) if after.active() else ())

    def holds(self, acceptance: Acceptance, batch: Batch) -> bool:
        """Whether its maps have exactly these prefixes. Reads them all: slow."""
        wanted: dict[Shape, dict[int, bytes]] = {shape: {} for shape in acceptance.shapes}
        for (shape, mark), addresses in batch.items():
            wanted[shape][mark] = addresses
        found = listing.read(self.owned, ())
        if found is None:
            return not wanted
        return found.maps == set(map(map_name, wanted)) and all(
            same(WIDTH[shape.version], elements.read(self._map(shape)), content)
            for shape, content in wanted.items()
        )

    def has(self, entry: Entry) -> bool:
        address = entry.start.to_bytes(WIDTH[entry.shape.version], "big")
        return elements.mark_of(self._map(entry.shape), address) == entry.mark

    def _map(self, shape: Shape) -> elements.Map:
        return elements.Map(self.owned, map_name(shape), shape.version)

    def _edits(self, removed: Batch, added: Batch) -> tuple[Edit, ...]:
        gone = by_shape(removed)
        shapes = sorted({*gone, *(shape for shape, _ in added)})
        return tuple(
            Edit(
                self._map(shape),
                gone.get(shape, b""),
                tuple((mark, found) for (its, mark), found in added.items() if its == shape),
            )
            for shape in shapes
        )

    def text(self, chains: Chains, head: str = "") -> str:
        blocks = []
        for name, (hook, rules) in chains.items():
            lines = [f"type {hook}; policy accept;"] if hook else []
            body = "".join(f"\t\t{line}\n" for line in [*lines, *rules])
            blocks.append(f"\tchain {name} {{\n{body}\t}}\n")
        return f"table {self.path} {{\n{head}{''.join(blocks)}}}\n"

    def drawn(self, acceptance: Acceptance) -> "Drawn":
        """Its maps and chains, compiled from their text."""
        from vipctl.linux.nftables import drafts
        from vipctl.linux.nftables.replay import Drawn

        draft = self._replace(name=DRAFT)
        chains, gone = self.ruleset(acceptance), f"delete table {draft.path}\n"
        maps = "".join(map(_map_words, sorted(acceptance.shapes)))
        counters = [f"\tcounter {name} {{}}\n" for name in self.counters(acceptance)]
        words = draft.text(chains, f"\tflags dormant;\n{maps}{''.join(counters)}")
        words = f"add table {draft.path}\n{gone}{words}"
        return drafts.carried_out(
            words, lambda: Drawn.read(draft.owned, chains, len(counters)), gone
        )

    def redraws(self, before: Acceptance, after: Acceptance) -> list[Message]:
        """The messages that change maps and chains; if `before` is inactive, all there is goes."""
        old, new = self.ruleset(before), self.ruleset(after)
        fresh, stale = after.shapes - before.shapes, before.shapes - after.shapes
        if before.active() and old == new and not (fresh or stale):
            return []
        from vipctl.linux.nftables import replay

        table, begun = self.owned, [] if before.active() else replay.absent(self.owned)
        if not after.active():
            return begun
        had, counters = set(self.counters(before)), self.counters(after)
        counted: dict[str, bytes] = {}
        if not before.active():
            begun += replay.empty(table, _comment(after))
            counted = listing.counters(table) if counters else {}
        drawn = self.drawn(after)
        return [
            *begun,
            *drawn.maps(table, map(map_name, sorted(fresh))),
            *replay.counters(table, {n: counted.get(n, b"") for n in counters if n not in had}),
            *replay.without_rules(table, old),
            *drawn.chains(table, [name for name in new if name not in old]),
            *drawn.rules(table),
            *replay.without_chains(table, [name for name in reversed(old) if name not in new]),
            *replay.without_maps(table, map(map_name, sorted(stale))),
            *replay.without_counters(table, sorted(had.difference(counters))),
        ]


class Work(NamedTuple):
    """What leads a table from one state to another."""

    table: Table
    before: Acceptance
    after: Acceptance
    edits: tuple[Edit, ...] = ()

    def direct(self) -> list[Message]:
        return self.table.redraws(self.before, self.after)

    def wide(self) -> list[Message]:
        """To the state in which the VIPs of both are accepted."""
        return self.table.redraws(self.before, both(self.before, self.after))

    def narrow(self) -> list[Message]:
        return self.table.redraws(both(self.before, self.after), self.after)


def commit(*works: Work) -> int:
    """Commits all in one transaction; returns how many it took. Raises KernelError or Missing.

    For root in a user namespace the kernel limits the size of a transaction. Then it takes several:
    VIPs of both states stay accepted in between, unless the table is replaced.
    """
    edits = [edit for work in works for edit in work.edits]
    messages = [message for work in works for message in work.direct()]
    messages += elements.messages(edits)
    if transactions.fits(messages):
        return transactions.send(messages)
    steps = transactions.send([message for work in works for message in work.wide()])
    for part in elements.parts(edits, transactions.largest()):
        steps += transactions.send(elements.messages([part]))
    return steps + transactions.send([message for work in works for message in work.narrow()])


def both(before: Acceptance, after: Acceptance) -> Acceptance:
    """What accepts the VIPs of both states."""
    stay = {service.fwmark for service in after.services}
    leaving = [service for service in before.services if service.fwmark not in stay]
    return after._replace(
        services=(*leaving, *after.services),
        shapes=before.shapes | after.shapes,
        passive=before.passive | after.passive,
    )


def probe() -> None:
    """Raises Missing where the director has no nftables, or no libnftables."""
    from vipctl.linux.nftables import drafts

    transactions.generation()
    drafts.check()


def _comment(acceptance: Acceptance) -> str:
    return f"{OWNER}{acceptance.owner}" if acceptance.owner else ""


def _map_words(shape: Shape) -> str:
    """The map has twice the room: in a transaction, old and new elements are both in it."""
    size = f" size {2 * shape.room};" if shape.room else ""
    return f"\tmap {map_name(shape)} {{ type ipv{shape.version}_addr : mark;{size} }}\n"
