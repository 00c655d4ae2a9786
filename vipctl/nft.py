"""libnftables: the only file that knows it. A method's table is a `Table`."""

import hashlib
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from vipctl import elements, log
from vipctl.batch import Batch, by_shape, same
from vipctl.elements import Edit
from vipctl.errors import KernelError, Missing
from vipctl.model import NOTHING, Acceptance, Shape
from vipctl.prefixes import FAMILY as PROTOCOL
from vipctl.ruleset import Chains, map_name, shape_of, words
from vipctl.spans import WIDTH

MANY = 1000  # elements that are not put into words
LOGGED = 4000  # characters of a transaction that -v shows


class Declared(NamedTuple):
    """A table without elements: its maps, the number of rules by chain, all of it as text."""

    text: str
    maps: frozenset[str]
    rules: dict[str, int]


class Work(NamedTuple):
    """What leads a table from one state to another: at once, or with many elements in steps.

    At once: `maps`, the elements and `direct`. In steps, so that no VIP of both states is ever
    refused: `maps` and `wide`, where both are accepted; all elements at once; `narrow`.
    """

    maps: str
    wide: str = ""
    edits: tuple[Edit, ...] = ()
    narrow: str = ""
    direct: str = ""


NO_TABLE = Declared("", frozenset(), {})


class Table(NamedTuple):
    """An nftables table that has a map for each shape, and the chains that `ruleset` draws."""

    name: str
    ruleset: Callable[[Acceptance], Chains]
    family: str = "inet"

    @property
    def path(self) -> str:
        return f"{self.family} {self.name}"

    def seal(self, acceptance: Acceptance) -> str | None:
        """A digest of what is there, "" for no table, None if it is not what is needed."""
        found = declared(self.name, self.family)
        if found is None or not acceptance.active():
            return None if found or acceptance.active() else ""
        rules = {name: len(lines) for name, (_, lines) in self.ruleset(acceptance).items()}
        if found.maps != set(map(map_name, acceptance.shapes)) or found.rules != rules:
            return None
        return hashlib.sha256(found.text.encode()).hexdigest()

    def changing(self, before: Acceptance, after: Acceptance, removed: Batch, added: Batch) -> Work:
        """From one state to the next."""
        if not (before.active() and after.active()):
            return self.replacing(after, added)
        stale = before.shapes - after.shapes
        maps = [f"add table {self.path}\n"]
        maps += map(self._add_map, sorted(after.shapes - before.shapes))
        gone = [f"delete map {self.path} {map_name(shape)}\n" for shape in sorted(stale)]
        kept = {key: found for key, found in removed.items() if key[0] not in stale}
        wide = both(before, after)
        return Work(
            "".join(maps),
            self._chains(list(self.ruleset(before)), before, wide),
            self._edits(kept, added),
            self._chains(list(self.ruleset(wide)), wide, after) + "".join(gone),
            self._chains(list(self.ruleset(before)), before, after) + "".join(gone),
        )

    def replacing(self, after: Acceptance, batch: Batch) -> Work:
        """To `after` from whatever there is; packets find the old elements until the new come."""
        new = f"add table {self.path}\n"
        emptied = new + f"delete table {self.path}\n"
        if not after.active():
            return Work(emptied)
        maps = "".join(map(self._add_map, sorted(after.shapes)))
        drawn = self._chains([], NOTHING, after)
        if not _are_many(self._edits({}, batch)):
            return Work(emptied + new + maps, "", self._edits({}, batch), drawn, drawn)
        found = declared(self.name, self.family) or NO_TABLE
        unused = found.maps - set(map(map_name, after.shapes))
        gone = "".join(f"delete map {self.path} {name}\n" for name in sorted(unused))
        wide = Acceptance(after.services, after.shapes.union(filter(None, map(shape_of, unused))))
        return Work(
            new + maps,
            self._chains(list(found.rules), NOTHING, wide),
            self._edits({}, batch, emptied=True),
            self._chains(list(self.ruleset(wide)), wide, after) + gone,
            drawn,
        )

    def holds(self, acceptance: Acceptance, batch: Batch) -> bool:
        """Whether its maps have exactly these. Reads them all: slow."""
        wanted: dict[Shape, dict[int, bytes]] = {shape: {} for shape in acceptance.shapes}
        for (shape, mark), addresses in batch.items():
            wanted[shape][mark] = addresses
        found = declared(self.name, self.family)
        if found is None:
            return not wanted
        return found.maps == set(map(map_name, wanted)) and all(
            same(WIDTH[shape.version], elements.read(self._map(shape)), content)
            for shape, content in wanted.items()
        )

    def _map(self, shape: Shape) -> elements.Map:
        return elements.Map(self.family, self.name, map_name(shape), shape.version)

    def _edits(self, removed: Batch, added: Batch, *, emptied: bool = False) -> tuple[Edit, ...]:
        gone = by_shape(removed)
        shapes = sorted({*gone, *(shape for shape, _ in added)})
        return tuple(
            Edit(
                self._map(shape),
                gone.get(shape, b""),
                tuple((mark, found) for (its, mark), found in added.items() if its == shape),
                emptied,
            )
            for shape in shapes
        )

    def text(self, chains: Chains) -> str:
        blocks = []
        for name, (hook, rules) in chains.items():
            lines = [f"type {hook}; policy accept;"] if hook else []
            body = "".join(f"\t\t{line}\n" for line in [*lines, *rules])
            blocks.append(f"\tchain {name} {{\n{body}\t}}\n")
        return f"table {self.path} {{\n{''.join(blocks)}}}\n"

    def _chains(self, present: list[str], before: Acceptance, after: Acceptance) -> str:
        """Commands that draw all chains anew, if they are others."""
        new = self.ruleset(after)
        if self.ruleset(before) == new:
            return ""
        flush = "".join(f"flush chain {self.path} {name}\n" for name in present)
        gone = [
            f"delete chain {self.path} {name}\n" for name in reversed(present) if name not in new
        ]
        return flush + self.text(new) + "".join(gone)

    def _add_map(self, shape: Shape) -> str:
        """Twice the room: for what it has and what it is to have, while one becomes the other."""
        size = f" size {2 * shape.room};" if shape.room else ""
        kind = f"type ipv{shape.version}_addr : mark;{size}"
        return f"add map {self.path} {map_name(shape)} {{ {kind} }}\n"


def commit(*works: Work) -> None:
    """As few transactions as possible. Raises KernelError with nft's words, or Missing."""
    large = [work for work in works if _are_many(work.edits)]
    small = "".join(_at_once(work) for work in works if work not in large)
    run(small + "".join(work.maps + work.wide for work in large))
    if large:
        elements.send(edit for work in large for edit in work.edits)
    if narrow := "".join(work.narrow for work in large):
        run(narrow)


def _at_once(work: Work) -> str:
    return "".join((work.maps, *map(_text, work.edits), work.direct))


def _are_many(edits: Iterable[Edit]) -> bool:
    return sum(_size(edit) for edit in edits) > MANY


def _size(edit: Edit) -> int:
    """How many elements."""
    packed = (edit.removed, *(addresses for _, addresses in edit.added))
    return sum(map(len, packed)) // WIDTH[edit.where.version]


def _text(edit: Edit) -> str:
    version, path = edit.where.version, f"{edit.where.family} {edit.where.table} {edit.where.name}"
    gone = list(_addresses(version, edit.removed))
    come = [f"{a} : {mark:#x}" for mark, packed in edit.added for a in _addresses(version, packed)]
    return "".join(
        f"{verb} element {path} {words(found)}\n"
        for verb, found in (("delete", gone), ("add", come))
        if found
    )


def _addresses(version: int, packed: bytes) -> Iterator[str]:
    width = WIDTH[version]
    for at in range(0, len(packed), width):
        yield socket.inet_ntop(PROTOCOL[version], packed[at : at + width])


def both(before: Acceptance, after: Acceptance) -> Acceptance:
    """What accepts the VIPs of both states."""
    stay = {service.fwmark for service in after.services}
    leaving = [service for service in before.services if service.fwmark not in stay]
    return Acceptance((*leaving, *after.services), before.shapes | after.shapes)


def run(commands: str) -> None:
    """All of `commands` as one transaction. Raises KernelError with nft's words, or Missing."""
    log.debug("nft: %s%s", commands[:LOGGED], " …" if len(commands) > LOGGED else "")
    code, _, error = _context().cmd(commands)
    if code:
        raise _refusal(error)


def declared(table: str, family: str = "inet") -> Declared | None:
    """A table without elements, with handles; None if there is none.

    A terse listing of the whole family is the one that libnftables makes without fetching elements,
    and as text: its JSON of a table with flags, anybody's, is damaged and damages memory (1.0.6).
    """
    context = _context()
    context.set_terse_output(True)
    context.set_handle_output(True)
    context.set_numeric_symbol_output(True)
    code, output, error = context.cmd(f"list ruleset {family}")
    if code:
        raise _refusal(error)
    found = re.search(rf"^table {family} {table} {{.*?^}}", output, re.MULTILINE | re.DOTALL)
    return _declared(found[0]) if found else None


def _declared(text: str) -> Declared:
    maps = re.findall(r"^\tmap (\S+) {", text, re.MULTILINE)
    chains = re.findall(r"^\tchain (\S+) {(.*?)^\t}", text, re.MULTILINE | re.DOTALL)
    rules = {name: body.count("# handle ") - 1 for name, body in chains}  # one is the chain's
    return Declared(text, frozenset(maps), rules)


def _context() -> Any:
    try:
        import nftables

        return nftables.Nftables()
    except (ImportError, OSError) as e:
        raise Missing(
            f"libnftables cannot be used: {e}",
            hint="apt install libnftables1 python3-nftables",
        ) from e


def _refusal(error: str) -> KernelError | Missing:
    line = next((text for text in error.splitlines() if text.strip()), "no reason given")
    reason = line[:300].removeprefix("Error: ")
    if "Operation not permitted" in reason:
        return Missing("nftables: no permission", hint="run as root (CAP_NET_ADMIN)")
    return KernelError(f"nftables: {reason}", hint="see what is there: nft list ruleset")
