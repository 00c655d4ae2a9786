"""Writes docs/methods.md: what an operator reads to choose a method. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from tests.conformance.cell import PROXY, Cell
from tests.conformance.cells import GROUPS, everything
from tests.conformance.checks import YES, Check
from tests.conformance.expectations import about
from tests.conformance.results import Words
from vipctl.methods import NAMES, get

DIMENSIONS = ("version", "forwarding", "variant", "kernel")
Place = tuple[str, ...]  # a value for each of some dimensions
HEAD = """# Methods

A director accepts packets for VIPs by one of these methods, chosen for each service with
`--method`:

{methods}

What each of them does, as measured:

{short}

The following tables say what each of these names is about, where it differs, and why. A row speaks
of IPv4 and IPv6 and of each of IPVS's forwarding methods (`--forward nat`, `dr` and `tun`; a local
proxy has none), unless it says where.
"""
TAIL = """
How this page came about: `make conformance` measured {count} cells under each of Debian's kernels
{kernels}, with real traffic between network namespaces, and wrote it. `make test` measures a part
of them again, and fails where that differs from this page (`docs/methods.json` is the same for
programs). A cell is one check of one method, IP version and forwarding method: `tests/conformance`.
"""


@dataclass(frozen=True, slots=True)
class Fact:
    """A word that was measured."""

    cell: Cell
    kernel: str
    word: str

    def value(self, dimension: str) -> str:
        """Return where this fact stands in a dimension."""
        if dimension == "version":
            return f"IPv{self.cell.version}"
        if dimension == "kernel":
            return f"Linux {self.kernel}"
        return str(getattr(self.cell, dimension))


class Page:
    """The page under construction, and its footnotes so far."""

    def __init__(self, by_kernel: Mapping[str, Words]) -> None:
        self.by_kernel = by_kernel
        self.notes: dict[str, int] = {}
        self.facts = [
            Fact(cell, kernel, words[str(cell)])
            for cell in everything()
            for kernel, words in by_kernel.items()
        ]

    def text(self) -> str:
        """Return all of it."""
        lines = [line for group in GROUPS for line in self._table(group)]
        lines += ["", *(f"[^{number}]: {text}" for text, number in self.notes.items())]
        count, kernels = len(everything()), " and ".join(self.by_kernel)
        head = HEAD.format(methods=_methods(), short="\n".join(self._short()))
        tail = TAIL.format(count=count, kernels=kernels)
        return head + "\n".join(lines) + "\n" + tail

    def _short(self) -> Iterator[str]:
        """Yield the table that names what a method does not do, or not everywhere."""
        yield from _head("")
        for group in GROUPS:
            texts = (self._exceptions(group, method) for method in NAMES)
            yield f"| {group} | {' | '.join(texts)} |"

    def _exceptions(self, group: str, method: str) -> str:
        checks = GROUPS[group]
        facts = [f for f in self.facts if f.cell.method == method and f.cell.check in checks]
        names = dict.fromkeys(_spoken(f.cell.check) for f in facts if not _is_well(f.word))
        return f"all but: {', '.join(names)}" if names else "all"

    def _table(self, group: str) -> Iterator[str]:
        yield from ("", f"## {group}", "", *_head("", "", "where"))
        for name, check in GROUPS[group].items():
            yield from self._rows(name, check, [f for f in self.facts if f.cell.check == name])

    def _rows(self, name: str, check: Check, facts: list[Fact]) -> Iterator[str]:
        """Yield a row for each set of places where all methods do the same."""
        dimensions = _telling(facts)
        rows: dict[tuple[str, ...], list[Place]] = {}
        for place in _places(facts, dimensions):
            here = [f for f in facts if _is_at(f, dimensions, place)]
            texts = tuple(self._text([f for f in here if f.cell.method == m]) for m in NAMES)
            rows.setdefault(texts, []).append(place)
        title = f"{_spoken(name)} | {_title(check, dimensions)}"
        for texts, where in _named(rows):
            yield f"| {title} | {where} | {' | '.join(texts)} |"
            title = " | "

    def _text(self, facts: list[Fact]) -> str:
        """Return what one table cell says; all of its facts have the same word."""
        if not facts or facts[0].word == YES:
            return YES if facts else "–"
        sentences = [self._sentence(fact) for fact in facts]
        notes = "".join(f"[^{number}]" for number in dict.fromkeys(sentences))
        word = facts[0].word
        return (word if _is_well(word) else f"no: {word}") + notes

    def _sentence(self, fact: Fact) -> int:
        """Return the number of the footnote that explains a fact."""
        reasons = [d.because for d in about(fact.cell) if d.word == fact.word]
        if not reasons:
            raise LookupError(f"no deviation explains {fact.word!r} of {fact.cell}")
        return self.notes.setdefault(reasons[0], len(self.notes) + 1)


def _spoken(check: str) -> str:
    return check.replace("-", " ")


def _is_well(word: str) -> bool:
    return word.startswith((YES, "not needed"))


def _head(*columns: str) -> tuple[str, str]:
    """Return the head of a table that has a column for each method behind others."""
    titles = [*columns, *(f"`{name}`" for name in NAMES)]
    return f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"


def _methods() -> str:
    lines = ((get(name).__doc__ or "").splitlines()[0] for name in NAMES)
    return "\n".join(f"- {line}" for line in lines)


def _telling(facts: list[Fact]) -> tuple[str, ...]:
    """Return the fewest dimensions that words depend on, for any method."""
    for count in range(len(DIMENSIONS)):
        for dimensions in combinations(DIMENSIONS, count):
            words: dict[Place, set[str]] = {}
            for fact in facts:
                place = (fact.cell.method, *map(fact.value, dimensions))
                words.setdefault(place, set()).add(fact.word)
            if all(len(found) == 1 for found in words.values()):
                return dimensions
    return DIMENSIONS


def _places(facts: list[Fact], dimensions: tuple[str, ...]) -> list[Place]:
    """Return the places of a table; a proxy's facts are at those of every forwarding method."""
    found = dict.fromkeys(tuple(map(fact.value, dimensions)) for fact in facts)
    return [place for place in found if PROXY not in place]


def _is_at(fact: Fact, dimensions: tuple[str, ...], place: Place) -> bool:
    values = map(fact.value, dimensions)
    return all(v in (wanted, PROXY) for v, wanted in zip(values, place, strict=True))


def _named(rows: Mapping[tuple[str, ...], list[Place]]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield rows with a name of their places; the last, with most places, is the remaining ones."""
    last = max(rows, key=lambda texts: len(rows[texts]))
    for texts in rows:
        if texts != last:
            yield texts, "; ".join(", ".join(place) for place in rows[texts])
    several = len(rows) > 1
    alone = ", ".join(rows[last][0]) if len(rows[last]) == 1 else "else"
    yield last, alone if several else ""


def _title(check: Check, dimensions: tuple[str, ...]) -> str:
    """Return what a row is about; which variant, where that matters, is named beside it."""
    if "variant" in dimensions:
        return check.title.format(" or ".join(check.variants))
    return check.title.format(check.together or " and ".join(check.variants))
