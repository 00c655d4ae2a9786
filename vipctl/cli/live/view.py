"""What is shown, in which order, and what keys do about it. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from vipctl.operate.rates import Rates
from vipctl.services.naming import naturally

BY_NAME = "name"
HELP = "q quit  / find  e reals  r reverse  sort: n name  c conn  p packets  b bytes  l left over"
MOST_TYPED = 60
Row = tuple[str, str]  # service and real server, or "" for the service itself


class Column(NamedTuple):
    """`key` sorts by it; those of this moment have none."""

    heading: str
    field: str
    key: str = ""


COLUMNS = (  # the most important first
    Column("CONN/s", "connections", "c"),
    Column("PKT IN/s", "packets_in", "p"),
    Column("B IN/s", "bytes_in", "b"),
    Column("ACCEPTED/s", "accepted", "v"),
    Column("LEFT OVER/s", "left_over", "l"),
    Column("PKT OUT/s", "packets_out", "o"),
    Column("B OUT/s", "bytes_out", "B"),
    Column("ACTIVE", "active"),
    Column("INACTIVE", "inactive"),
    Column("REFUSED/s", "refused", "x"),
)
SORTING = {column.key: column.field for column in COLUMNS if column.key} | {"n": BY_NAME}
BUSIEST = ("packets_in", "accepted", "left_over")  # the sparkline: of the first that is counted


class View(NamedTuple):
    """What somebody has chosen by keys; `top` is the first row that is shown."""

    sort: str = ""  # a field; none: the busiest first
    reverse: bool = False
    reals: bool = True
    wanted: str = ""  # a part of names
    typing: bool = False
    top: int = 0
    done: bool = False


def pressed(view: View, key: str, page: int) -> View:
    """After a key, where `page` rows fit."""
    if key == "ctrl-c":
        return view._replace(done=True)
    if view.typing:
        return _typed(view, key)
    if key in SORTING:
        return view._replace(sort=SORTING[key], top=0)
    return _commanded(view, key)._replace(top=max(0, view.top + _moved(key, page, view.top)))


def _commanded(view: View, key: str) -> View:
    if key == "q":
        return view._replace(done=True)
    if key == "/":
        return view._replace(typing=True)
    if key == "escape":
        return view._replace(wanted="")
    if key == "r":
        return view._replace(reverse=not view.reverse)
    if key == "e":
        return view._replace(reals=not view.reals)
    return view


def _moved(key: str, page: int, top: int) -> int:
    steps = {
        **{"down": 1, "j": 1, "up": -1, "k": -1, "page up": -page, "page down": page, " ": page},
        **{"home": -top, "end": 1_000_000_000},
    }
    return steps.get(key, 0)


def _typed(view: View, key: str) -> View:
    if key == "enter":
        return view._replace(typing=False)
    if key == "escape":
        return view._replace(typing=False, wanted="")
    if key == "backspace":
        return view._replace(wanted=view.wanted[:-1])
    if len(key) == 1 and key.isprintable() and len(view.wanted) < MOST_TYPED:
        return view._replace(wanted=view.wanted + key, top=0)
    return view


def rows(view: View, rates: Rates) -> list[Row]:
    """All that could be scrolled to."""
    found: list[Row] = []
    for name in ordered(view, rates):
        found.append((name, ""))
        found += ((name, endpoint) for endpoint in rates.endpoints[name] if view.reals)
    return found


def ordered(view: View, rates: Rates) -> Sequence[str]:
    """The names that are wanted; those with equal rates, by name."""
    names = [n for n in rates.endpoints if view.wanted.casefold() in n.casefold()]
    names.sort(key=naturally, reverse=view.reverse)
    if view.sort != BY_NAME:
        fields = (view.sort,) if view.sort else BUSIEST
        names.sort(key=lambda name: _value(rates.of(name), fields), reverse=not view.reverse)
    return names


def _value(numbers: Mapping[str, float], fields: Iterable[str]) -> float:
    return next((numbers[field] for field in fields if field in numbers), 0.0)


def within(view: View, number: int, page: int) -> View:
    """Not scrolled farther than to the last page of so many rows."""
    return view._replace(top=max(0, min(view.top, number - page)))


def columns(rates: Rates) -> list[Column]:
    """Those of which anything is counted."""
    counted = {field for numbers in rates.services.values() for field in numbers}
    return [column for column in COLUMNS if column.field in counted]
