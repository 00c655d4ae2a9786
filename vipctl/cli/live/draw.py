"""A frame, as wide and as high as the terminal."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vipctl.cli.live import view as choice
from vipctl.cli.live.view import HELP, Column, Row, View
from vipctl.cli.output import printable
from vipctl.cli.tables import short
from vipctl.operate.rates import History, Rates

NAMES = 16  # columns of the terminal that names have at least
NUMBER, GAP = 7, 2
AROUND = 3  # lines: the title, the headings, the keys
BARS, PLAIN_BARS = " ▁▂▃▄▅▆▇█", " .:-=+*#@"
TREND = 10  # columns that a sparkline needs to be of use, with the gap


class Seen(NamedTuple):
    """What there is to draw."""

    rates: Rates
    history: History
    clock: str
    problem: str = ""


def frame(view: View, seen: Seen, width: int, height: int, *, plain: bool) -> RenderableType:
    """With `plain`, of ASCII characters only."""
    rows = choice.rows(view, seen.rates)
    shown = rows[view.top : view.top + height - AROUND]
    return Group(
        _title(view, seen, len(rows)),
        _table(shown, seen, width, plain=plain),
        *[Text("")] * (height - AROUND - len(shown)),
        _last(view),
    )


def _title(view: View, seen: Seen, number: int) -> Text:
    if seen.problem:
        return Text(printable(seen.problem), style="red", no_wrap=True)
    services = len(seen.rates.endpoints)
    said = f"{seen.clock}  {services:,} service{'' if services == 1 else 's'}"
    for field, words in (("connections", "connections/s"), ("packets_in", "packets in/s"),
                         ("accepted", "accepted/s")):  # fmt: skip
        if any(field in numbers for numbers in seen.rates.services.values()):
            said += f"  {short(round(seen.rates.total(field), 1))} {words}"
    if view.top:
        said += f"  from row {view.top + 1:,} of {number:,}"
    return Text(said, style="bold", no_wrap=True)


def _last(view: View) -> Text:
    if view.typing or view.wanted:
        sign = "_" if view.typing else "  (Esc: all)"
        return Text(f"/{printable(view.wanted)}{sign}", no_wrap=True)
    return Text(HELP, style="dim", no_wrap=True)


def _table(shown: Sequence[Row], seen: Seen, width: int, *, plain: bool) -> Table:
    columns, names, trend = fitting(choice.columns(seen.rates), width)
    made = Table(box=None, pad_edge=False, padding=0, header_style="bold")
    made.add_column("SERVICE", width=names, no_wrap=True, overflow="ellipsis")
    for column in columns:
        made.add_column(column.heading, width=_wide(column), no_wrap=True, justify="right")
    if trend:
        made.add_column("", width=trend, no_wrap=True, justify="right")
    bars = PLAIN_BARS if plain else BARS
    for name, endpoint in shown:
        numbers = seen.rates.of(name, endpoint)
        cells = [_number(numbers.get(column.field)) for column in columns]
        line = "" if endpoint else sparkline(seen.history.get(name, ()), trend - GAP, bars)
        title = Text(f"  {printable(endpoint)}") if endpoint else Text(printable(name), "bold")
        made.add_row(title, *cells, *[Text(line, "green")] * bool(trend))
    return made


def fitting(columns: Sequence[Column], width: int) -> tuple[list[Column], int, int]:
    """The columns that there is room for, how wide names may be, and sparklines, 0 if they may not.

    >>> fitting(choice.COLUMNS, 40)[1:]
    (21, 0)
    """
    kept: list[Column] = []
    left = width - NAMES
    for column in columns:
        if left < _wide(column):
            break
        left -= _wide(column)
        kept.append(column)
    more = min(left, 24)  # IPv6 addresses
    trend = left - more
    return (kept, NAMES + more, trend) if trend >= TREND else (kept, NAMES + left, 0)


def _wide(column: Column) -> int:
    """With a gap before it."""
    return max(NUMBER, len(column.heading)) + GAP


def _number(value: float | None) -> Text:
    if value is None:
        return Text("-")
    return Text(short(round(value, 1)), style="" if value else "dim")


def sparkline(values: Sequence[float], room: int, bars: str) -> str:
    """
    >>> sparkline([0, 1, 5, 10], 6, PLAIN_BARS)
    '   .=@'
    """
    if room <= 0:
        return ""
    last = values[-room:]
    most = max(last, default=0) or 1
    drawn = (bars[math.ceil(value * (len(bars) - 1) / most)] for value in last)
    return "".join(drawn).rjust(room)
