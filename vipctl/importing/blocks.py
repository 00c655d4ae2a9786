"""keepalived's syntax: statements, blocks in braces, comments, include, parameters. Pure.

$WEB=203.0.113.7
virtual_server ${WEB} 80 {      ! a comment
    lb_algo rr
    include servers/*.conf
}
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from vipctl.errors import UsageError
from vipctl.importing.found import Note, Place

TOKEN = re.compile(r'"([^"]*)"?|([{}])|[!#].*|((?:\\.|[^\s"{}!#])+)')
DEFINITION = re.compile(r"\s*\$(\w+)=(.*)")
PARAMETER = re.compile(r"\$\{(\w+)\}|\$(\w+)(?=\s|$)")
INCLUDE = ("include", *(f"include{kind}" for kind in "rmwba"))
MAX_DEPTH = 16  # of includes, and of parameters in parameters
MAX_LINE = 1 << 16  # characters, with parameters in place
Texts = Callable[[Place, str], Iterable[tuple[str, str]]]  # files by a pattern: name and text


class Statement(NamedTuple):
    place: Place
    words: list[str]
    body: list["Statement"]


@dataclass(slots=True)
class Reader:
    """`include` finds the files that a pattern means, for whoever names it."""

    include: Texts
    notes: list[Note] = field(default_factory=list)
    _defined: dict[str, str] = field(default_factory=dict)

    def read(self, file: str, text: str) -> list[Statement]:
        """Raises UsageError."""
        blocks: list[list[Statement]] = [[]]
        for place, words in self._pieces(file, text, 0):
            if words == ["{"] and blocks[-1]:
                blocks.append(blocks[-1][-1].body)
            elif words == ["}"] and len(blocks) > 1:
                blocks.pop()
            elif words in (["{"], ["}"]):
                raise UsageError(f"{place}: unexpected {words[0]}", hint="is a line missing?")
            else:
                blocks[-1].append(Statement(place, words, []))
        if len(blocks) > 1:
            opened = blocks[-2][-1]
            raise UsageError(
                f"{opened.place}: the block of {opened.words[0]} does not end", hint="add its }"
            )
        return blocks[0]

    def _pieces(self, file: str, text: str, depth: int) -> Iterator[tuple[Place, list[str]]]:
        """Statements, and braces alone."""
        if depth > MAX_DEPTH:
            raise UsageError(f"{file}: includes itself", hint="leave one include out")
        for number, line in enumerate(text.split("\n"), 1):
            place = Place(file, number)
            for words in _split(self._expanded(place, line)):
                if words[0] not in INCLUDE:
                    yield place, words
                else:
                    for name, more in self._included(place, words[1:]):
                        yield from self._pieces(name, more, depth + 1)

    def _included(self, place: Place, patterns: list[str]) -> Iterator[tuple[str, str]]:
        for pattern in patterns:
            found = list(self.include(place, pattern))
            if not found:
                self.notes.append(Note(place, f"include {pattern}", "there is no such file"))
            yield from found

    def _expanded(self, place: Place, line: str) -> str:
        """With parameters in place; nothing of a line that defines one, or is conditional."""
        word = line.split(maxsplit=1)[0] if line.strip() else ""
        if word.startswith("@^"):
            line = line.replace(word, "", 1)
        elif word.startswith("@"):
            why = "is for a director that keepalived is started for with -i"
            self.notes.append(Note(place, word, why))
            return ""
        if defined := DEFINITION.match(line):
            self._defined[defined[1]] = _uncommented(defined[2]).strip()
            line = ""
        if word.startswith("~") or (defined and defined[2].rstrip().endswith("\\")):
            raise UsageError(
                f"{place}: {word} makes several lines, which are not read here",
                hint="write them out",
            )
        for _ in range(MAX_DEPTH):
            line = PARAMETER.sub(self._value, line)
            if len(line) > MAX_LINE:
                raise UsageError(
                    f"{place}: parameters make this line longer than {MAX_LINE:,} characters",
                    hint="write it out",
                )
        return line

    def _value(self, found: re.Match[str]) -> str:
        return self._defined.get(found[1] or found[2], found[0])


def _uncommented(line: str) -> str:
    comments = (found.start() for found in TOKEN.finditer(line) if found[0][0] in "!#")
    return line[: next(comments, None)]


def _split(line: str) -> Iterator[list[str]]:
    words: list[str] = []
    for found in TOKEN.finditer(line):
        if found[2]:
            if words:
                yield words
            yield [found[2]]
            words = []
        elif found[1] is not None or found[3]:
            words.append(found[3] or found[1])
    if words:
        yield words


def find(of: Statement, *names: str) -> Statement | None:
    """The last one counts."""
    return next((s for s in reversed(of.body) if s.words[0] in names), None)


def last(of: Statement, *names: str, default: str, bare: str = "") -> str:
    """The word behind a keyword; `bare` where there is none."""
    statement = find(of, *names)
    if statement is None:
        return default
    return bare if bare and len(statement.words) == 1 else argument(statement)


def argument(statement: Statement) -> str:
    if len(statement.words) < 2:
        raise UsageError(
            f"{statement.place}: {statement.words[0]} is not complete",
            hint="see man keepalived.conf",
        )
    return statement.words[1]


@contextmanager
def at(place: Place) -> Iterator[None]:
    try:
        yield
    except UsageError as e:
        if e.message.startswith(f"{place.file}:"):
            raise
        raise UsageError(f"{place}: {e.message}", hint=e.hint) from e
