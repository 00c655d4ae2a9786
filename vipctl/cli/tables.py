"""Tables for people, which fit the terminal that they are printed on.

Where one is too wide, headers and cells break between words, and then large numbers become short.
Where that is not enough, each row is printed by itself. On no terminal, tables are as wide as they
need be.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import zip_longest

from vipctl.cli.output import printable, styled, width

GAP = "  "
UNITS = ("", "K", "M", "G", "T", "P", "E")
UNBROKEN = "\N{NO-BREAK SPACE}"
Cells = list[list[str]]
Side = Callable[[str, int], str]


def table(headers: Sequence[str], rows: Iterable[Iterable[object]], right: Collection[str]) -> str:
    """Columns whose headers are in `right` are numbers, and aligned to the right."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    room = width()
    for columns in (cells, _shortened(headers, cells, right)):
        widths = fitting(headers, columns, room)
        if widths is not None:
            return _drawn(headers, columns, right, widths)
    return "\n".join(_alone(headers, row, room or 0) for row in cells)


def fitting(headers: Sequence[str], cells: Cells, room: int | None) -> list[int] | None:
    """How wide each column may be, so that all fit; None if that would break words.

    >>> fitting(["NAME", "PORTS"], [["web", "tcp/80 tcp/443"]], 18)
    [4, 12]
    """
    columns = list(zip(headers, *cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    if room is None:
        return widths
    least = [max(len(w) for cell in column for w in cell.split(" ")) for column in columns]
    room -= len(GAP) * (len(columns) - 1)
    if sum(least) > room:
        return None
    for _ in range(sum(widths) - room):
        widest = max((n for n, w in enumerate(widths) if w > least[n]), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def short(number: float) -> str:
    """In three digits and a unit.

    >>> [short(number) for number in (0, 7.25, 999, 1000, 12345, 999_999, 1_234_567_890)]
    ['0', '7.25', '999', '1.00K', '12.3K', '1.00M', '1.23G']
    """
    size = 0
    while number >= 999.5 and size < len(UNITS) - 1:
        number, size = number / 1000, size + 1
    if not size and number == int(number):
        return str(int(number))
    digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
    return f"{number:.{digits}f}{UNITS[size]}"


def _shortened(headers: Sequence[str], cells: Cells, right: Collection[str]) -> Cells:
    numeric = [header in right for header in headers]
    return [[_short(c) if n else c for n, c in zip(numeric, row, strict=True)] for row in cells]


def _short(cell: str) -> str:
    digits = cell.replace(",", "")
    return short(int(digits)) if digits.isdecimal() and len(digits) > 4 else cell


def _drawn(
    headers: Sequence[str], cells: Cells, right: Collection[str], widths: Sequence[int]
) -> str:
    sides = [str.rjust if header in right else str.ljust for header in headers]
    head = [styled(line, bold=True) for line in _lines(headers, sides, widths)]
    return "\n".join([*head, *(line for row in cells for line in _lines(row, sides, widths))])


def _lines(row: Sequence[str], sides: Iterable[Side], widths: Sequence[int]) -> Iterator[str]:
    """As many as the cell that is broken most."""
    columns = [_broken(cell, room).split("\n") for cell, room in zip(row, widths, strict=True)]
    for parts in zip_longest(*columns, fillvalue=""):
        placed = (side(p, room) for side, p, room in zip(sides, parts, widths, strict=True))
        yield GAP.join(placed).rstrip()


def _broken(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    from textwrap import fill

    return fill(text, room, break_long_words=False, break_on_hyphens=False)


def _alone(headers: Sequence[str], row: Sequence[str], room: int) -> str:
    """A row as its first cell, and lines of the others with their headers."""
    from textwrap import fill

    said = [f"{h} {c}" for h, c in zip(headers[1:], row[1:], strict=True) if c]
    whole = [one.replace(" ", UNBROKEN) if len(one) < room - 2 else one for one in said]
    lines = fill(
        GAP.join(whole), max(room, 10), initial_indent=GAP, subsequent_indent=GAP,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return f"{_broken(row[0], room)}\n{lines.replace(UNBROKEN, ' ')}"
