"""Plots as SVG: both axes logarithmic, every line named at its end. Pure.

The colours are legible on white and on black, and there is no background.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from benchmarks.scale.plan import CONTESTANTS, LIMIT, Contestant, Kind
from benchmarks.scale.record import Results
from benchmarks.scale.words import nbytes, seconds

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 62, 170, 34, 36
SPACE = 14  # between names
GREY = "#808890"
COLOURS = {
    "nftables": "#3584e4",
    "routes": "#e66100",
    "ipset": "#2ea065",
    "addresses": "#d6336c",
    "rules": "#a05fd0",
}
STYLES = {
    Kind.VIPCTL: 'stroke-width="3.5"',
    Kind.PEER: 'stroke-width="1.5"',
    Kind.RAW: 'stroke-width="1.5" stroke-dasharray="4 3"',
}
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """What is drawn of a contestant; its last point may be where it was stopped."""

    contestant: Contestant
    points: list[Point]
    stopped: bool


@dataclass(frozen=True, slots=True)
class Scale:
    """Where figures are on an axis of pixels."""

    least: float
    most: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the pixel."""
        share = math.log(value / self.least) / math.log(self.most / self.least)
        return self.start + share * (self.end - self.start)


def plots(results: Results) -> dict[str, str]:
    """Return each file's text by its name."""
    return {
        "load.svg": _times(results, "load", "Seconds until all VIPs are accepted"),
        "more.svg": _times(results, "more", "Seconds for one range more"),
        "rss.svg": _memory(results, "Memory of the largest process", _rss(results)),
        "kernel.svg": _memory(results, "Memory of the kernel", results.kernel),
    }


def _times(results: Results, step: str, title: str) -> str:
    lines = _lines(results, lambda name, size: results.middle(name, size, step))
    if step == "load":
        lines = [_with_end(results, line) for line in lines]
    return _plot(title, lines, seconds)


def _rss(results: Results) -> Callable[[str, int], float | None]:
    return lambda name, size: results.middle(name, size, "load", "rss")


def _memory(results: Results, title: str, value: Callable[[str, int], float | None]) -> str:
    def shown(name: str, size: int) -> float | None:
        found = value(name, size)
        return found if found and found >= 1e6 else None

    return _plot(title, _lines(results, shown), nbytes)


def _lines(results: Results, value: Callable[[str, int], float | None]) -> list[Line]:
    found = []
    for contestant in CONTESTANTS:
        values = [(size, value(contestant.name, size)) for size in results.sizes()]
        points = [(float(size), each) for size, each in values if each]
        if contestant.plotted:
            found.append(Line(contestant, points, stopped=False))
    return found


def _with_end(results: Results, line: Line) -> Line:
    """Add where a contestant was stopped."""
    for size in results.sizes():
        if results.stopped(line.contestant.name, size):
            return Line(line.contestant, [*line.points, (float(size), LIMIT)], stopped=True)
    return line


def _plot(title: str, lines: Sequence[Line], text: Callable[[float], str]) -> str:
    lines = [line for line in lines if line.points]
    parts = [_text(LEFT, 18, title, size=14, weight="bold")]
    if lines:
        sizes, values = zip(*(point for line in lines for point in line.points), strict=True)
        across = Scale(min(sizes) * 0.9, max(sizes) * 1.1, LEFT, WIDTH - RIGHT)
        up = Scale(_decade(min(values), math.floor), _decade(max(values), math.ceil),
                   HEIGHT - BOTTOM, TOP)  # fmt: skip
        parts += [*_grid(across, up, sorted(set(sizes)), text), *_drawn(lines, across, up)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
    head += f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" fill="none">'
    return "\n".join([head, f"<title>{escape(title)}</title>", *parts, "</svg>"]) + "\n"


def _decade(value: float, rounded: Callable[[float], int]) -> float:
    exponent = rounded(math.log10(value))
    return 10.0 ** (exponent + (rounded is math.ceil and 10.0**exponent == value))


def _grid(
    across: Scale, up: Scale, sizes: Sequence[float], text: Callable[[float], str]
) -> Iterator[str]:
    decades = range(round(math.log10(up.least)), round(math.log10(up.most)) + 1)
    for value in (10.0**decade for decade in decades):
        y = up.at(value)
        yield _rule(across.start, y, across.end, y)
        yield _text(LEFT - 6, y + 4, text(value), anchor="end")
    for size in sizes:
        x = across.at(size)
        yield _rule(x, up.start, x, up.end)
        yield _text(x, HEIGHT - BOTTOM + 16, f"{size:,.0f}", anchor="middle")
    middle = (across.start + across.end) / 2
    yield _text(middle, HEIGHT - 4, "VIPs", anchor="middle")


def _drawn(lines: Sequence[Line], across: Scale, up: Scale) -> Iterator[str]:
    """Draw vipctl last, so that it is on top; names where there is room."""
    ends = [up.at(line.points[-1][1]) for line in lines]
    for line, y in zip(lines, _apart(ends), strict=True):
        colour = COLOURS[line.contestant.mechanism]
        weight = "bold" if line.contestant.kind is Kind.VIPCTL else "normal"
        name = line.contestant.title.replace("`", "")
        points = [(across.at(size), up.at(value)) for size, value in line.points]
        yield _rule(points[-1][0] + 4, points[-1][1], across.end + 10, y, colour)
        yield _text(across.end + 13, y + 4, name, weight=weight, colour=colour)
    for line in sorted(lines, key=lambda line: line.contestant.kind is Kind.VIPCTL):
        yield _curve(line, [(across.at(size), up.at(value)) for size, value in line.points])


def _curve(line: Line, points: Sequence[Point]) -> str:
    colour, style = COLOURS[line.contestant.mechanism], STYLES[line.contestant.kind]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    drawn = f'<polyline points="{path}" stroke="{colour}" {style}/>'
    x, y = points[-1]
    if not line.stopped:
        return drawn + f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>'
    cross = f"M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10"
    return drawn + f'<path d="{cross}" stroke="{colour}" stroke-width="2.5"/>'


def _apart(wanted: Sequence[float]) -> list[float]:
    """Return places near those wanted, none nearer to another than a name is high."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    found = list(wanted)
    for before, index in pairwise(order):
        found[index] = max(found[index], found[before] + SPACE)
    below = float(HEIGHT - BOTTOM)
    for index in reversed(order):
        found[index] = min(found[index], below)
        below = found[index] - SPACE
    return found


def _rule(x: float, y: float, to_x: float, to_y: float, colour: str = GREY) -> str:
    ends = f'x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="0.5" stroke-opacity="0.6"/>'


def _text(
    x: float, y: float, text: str, *,
    size: int = 11, weight: str = "normal", anchor: str = "start", colour: str = GREY,
) -> str:  # fmt: skip
    look = f'font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{escape(text)}</text>'
