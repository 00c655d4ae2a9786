"""libnftables: the only file that knows it. A method's table is a `Table`."""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from vipctl.errors import KernelError, Missing
from vipctl.model import NOTHING, Acceptance, Entry, Shape
from vipctl.prefixes import address
from vipctl.ruleset import Chains, map_name, words

LOGGED = 4000  # characters of a transaction that -v shows
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Declared:
    """A table without elements: its maps, the number of rules by chain, all of it as text."""

    text: str
    maps: frozenset[str]
    rules: dict[str, int]


@dataclass(frozen=True, slots=True)
class Table:
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

    def changing(
        self,
        before: Acceptance,
        after: Acceptance,
        removed: Iterable[Entry],
        added: Iterable[Entry],
    ) -> str:
        """Commands from one state to the next."""
        if not (before.active() and after.active()):
            return self.replacing(after, added)
        stale = before.shapes - after.shapes
        commands = [f"add table {self.path}\n"]
        commands += map(self._add_map, sorted(after.shapes - before.shapes))
        if self.ruleset(before) != self.ruleset(after):
            commands.append(self._replace_chains(before, after))
        commands += self._elements("delete", (e for e in removed if e.shape not in stale))
        commands += self._elements("add", added)
        commands += [f"delete map {self.path} {map_name(shape)}\n" for shape in sorted(stale)]
        return "".join(commands)

    def replacing(self, after: Acceptance, entries: Iterable[Entry]) -> str:
        """Commands that lead there from whatever there is."""
        commands = [f"add table {self.path}\ndelete table {self.path}\n"]
        if after.active():
            commands.append(f"add table {self.path}\n")
            commands += map(self._add_map, sorted(after.shapes))
            commands.append(self._replace_chains(NOTHING, after))
            commands += self._elements("add", entries)
        return "".join(commands)

    def holds(self, acceptance: Acceptance, entries: Iterator[Entry]) -> bool:
        """Whether its maps have exactly these. Reads them all: slow."""
        wanted: dict[Shape, dict[str, int]] = {shape: {} for shape in acceptance.shapes}
        for shape, start, mark in entries:
            wanted[shape][str(address(shape.version, start))] = mark
        found = declared(self.name, self.family)
        if found is None:
            return not wanted
        return found.maps == set(map(map_name, wanted)) and all(
            _elements_of(f"{self.path} {map_name(shape)}") == content
            for shape, content in wanted.items()
        )

    def text(self, chains: Chains) -> str:
        blocks = []
        for name, (hook, rules) in chains.items():
            lines = [f"type {hook}; policy accept;"] if hook else []
            body = "".join(f"\t\t{line}\n" for line in [*lines, *rules])
            blocks.append(f"\tchain {name} {{\n{body}\t}}\n")
        return f"table {self.path} {{\n{''.join(blocks)}}}\n"

    def _replace_chains(self, before: Acceptance, after: Acceptance) -> str:
        old, new = self.ruleset(before), self.ruleset(after)
        flush = "".join(f"flush chain {self.path} {name}\n" for name in old)
        gone = [f"delete chain {self.path} {name}\n" for name in reversed(old) if name not in new]
        return flush + self.text(new) + "".join(gone)

    def _add_map(self, shape: Shape) -> str:
        kind = f"type ipv{shape.version}_addr : mark;"
        return f"add map {self.path} {map_name(shape)} {{ {kind} }}\n"

    def _elements(self, verb: str, entries: Iterable[Entry]) -> Iterator[str]:
        """One command for each map."""
        by_shape: dict[Shape, list[str]] = {}
        for shape, start, mark in entries:
            pair = f"{address(shape.version, start)} : {mark:#x}"
            by_shape.setdefault(shape, []).append(pair)
        for shape, pairs in by_shape.items():
            yield f"{verb} element {self.path} {map_name(shape)} {words(pairs)}\n"


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


def _elements_of(path: str) -> dict[str, int]:
    """All of a map from address to mark: slow, and large, in a large map."""
    (found,) = _query(_context(), f"list map {path}")
    return dict(found["map"].get("elem", ()))


def _query(context: Any, command: str) -> list[dict[str, Any]]:
    context.set_json_output(True)
    context.set_numeric_symbol_output(True)  # marks may have names in rt_marks
    code, output, error = context.cmd(command)
    if code:
        raise _refusal(error)
    return [item for item in json.loads(output)["nftables"] if "metainfo" not in item]


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
