"""`status --watch` without a terminal: keys, the order of rows, what fits, frames."""

import io
import re
from functools import reduce

import pytest
from rich.console import Console
from rich.live import Live

from vipctl.cli.live import draw, keyboard
from vipctl.cli.live import view as choice
from vipctl.cli.live.draw import Seen
from vipctl.cli.live.loop import Screen
from vipctl.cli.live.view import COLUMNS, View, ordered, pressed, rows, within
from vipctl.errors import Refused
from vipctl.operate.rates import Rates, Sample

PAGE = 10
NUMBERS = {column.field: 1_234_567.8 for column in COLUMNS}
RATES = Rates(
    {"web2": ("10.0.1.11", "fd00:1::11"), "web10": (), "mail": ()},
    {
        "web2": {"packets_in": 10.0, "connections": 1.0},
        "web10": {"packets_in": 10.0, "connections": 5.0},
        "mail": {"packets_in": 70.0, "connections": 2.0},
    },
    {("web2", "10.0.1.11"): {"packets_in": 7.0}},
)
BUSY = RATES._replace(services=dict.fromkeys(RATES.endpoints, NUMBERS))


def after(*keys: str, view: View | None = None) -> View:
    return reduce(lambda view, key: pressed(view, key, PAGE), keys, view or View())


def test_keys_are_told_apart() -> None:
    sent = b"q/\x1b[A\x1bOB\x1b[5~\x1b[6~\x1b\r\x7f\x03\x1a\x1b[200~\xc3\xa4\xff"
    names = ["q", "/", "up", "down", "page up", "page down", "escape", "enter", "backspace"]
    assert keyboard.named(sent) == [*names, "ctrl-c", "ä"]


@pytest.mark.parametrize("keys", [("q",), ("ctrl-c",), ("/", "ctrl-c")])
def test_it_ends(keys: tuple[str, ...]) -> None:
    assert after(*keys).done


def test_what_is_typed_is_a_filter_until_enter() -> None:
    typing = after("/", "w", "q", "backspace", "e")
    assert (typing.wanted, typing.typing, typing.done) == ("we", True, False)
    kept = after("enter", "r", view=typing)
    assert (kept.wanted, kept.typing, kept.reverse) == ("we", False, True)
    assert after("escape", view=kept).wanted == after("escape", view=typing).wanted == ""
    assert len(after("/", *"x" * 500).wanted) == choice.MOST_TYPED
    assert list(ordered(after("/", *"WEB"), RATES)) == ["web2", "web10"]


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ("", ["mail", "web2", "web10"]),
        ("r", ["web10", "web2", "mail"]),
        ("n", ["mail", "web2", "web10"]),
        ("nr", ["web10", "web2", "mail"]),
        ("c", ["web10", "mail", "web2"]),
        ("cr", ["web2", "mail", "web10"]),
    ],
)
def test_order(keys: str, names: list[str]) -> None:
    """Of those with the same rate, by name."""
    assert list(ordered(after(*keys), RATES)) == names


def test_real_servers_follow_their_service_if_wanted() -> None:
    assert rows(View(), RATES)[1:4] == [
        ("web2", ""), ("web2", "10.0.1.11"), ("web2", "fd00:1::11"),
    ]  # fmt: skip
    assert [endpoint for _, endpoint in rows(after("e"), RATES)] == ["", "", ""]


@pytest.mark.parametrize(
    ("keys", "top"),
    [
        (("down", "j", "up", "k", "k"), 0), (("page down", " "), 20), (("end",), 90),
        (("end", "page up"), 80), (("end", "home"), 0),
    ],
)  # fmt: skip
def test_scrolling_ends_where_rows_do(keys: tuple[str, ...], top: int) -> None:
    view = View()
    for key in keys:
        view = within(pressed(view, key, PAGE), 100, PAGE)
    assert view.top == top


def frame(width: int, height: int, rates: Rates, view: View | None = None, **seen: str) -> str:
    history = dict.fromkeys(rates.services, tuple(map(float, range(60))))
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    drawn = Seen(rates, history, "12:00:00", **seen)
    console.print(draw.frame(view or View(), drawn, width, height, plain=False), end="")
    printed = console.file
    assert isinstance(printed, io.StringIO)
    return printed.getvalue()


@pytest.mark.parametrize("rates", [RATES, BUSY, Rates()])
@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 132, 200])
def test_a_frame_is_as_large_as_the_terminal(width: int, rates: Rates) -> None:
    lines = frame(width, 12, rates).splitlines()
    assert len(lines) == 12
    assert max(map(len, lines)) <= width
    assert lines[-1].startswith("q quit")


def test_the_wider_it_is_the_more_is_shown() -> None:
    headings = {width: frame(width, 12, BUSY).splitlines()[1] for width in (60, 80, 200)}
    shown = {width: re.split(" {2,}", line.strip()) for width, line in headings.items()}
    assert shown[60] == ["SERVICE", "CONN/s", "PKT IN/s", "B IN/s", "ACCEPTED/s"]
    assert shown[80][:6] == [*shown[60], "LEFT OVER/s"]
    assert shown[200] == ["SERVICE", *(column.heading for column in COLUMNS)]
    assert "█" in frame(200, 12, BUSY)
    assert "1.23M" in frame(60, 12, BUSY)


def test_what_is_counted_nowhere_has_no_column() -> None:
    assert "ACCEPTED" not in frame(200, 12, RATES)
    assert "PKT IN/s" in frame(200, 12, RATES)


def test_long_names_are_cut_and_harmless() -> None:
    name = "x" * 300
    drawn = frame(60, 12, Rates({name: (), "we\x1b[2Jb": ()}, {name: NUMBERS}))
    assert "…" in drawn
    assert "we\\x1b[2Jb" in drawn
    assert all(c.isprintable() or c == "\n" for c in drawn)


def test_a_problem_takes_the_place_of_the_title() -> None:
    drawn = frame(80, 12, RATES, problem="the state is\x07 away")
    assert drawn.startswith("the state is\\x07 away")


@pytest.fixture
def screen() -> Screen:
    console = Console(file=io.StringIO())
    return Screen(console, Live(console=console), plain=True)


def test_what_nobody_expected_ends_it(screen: Screen) -> None:
    with pytest.raises(KeyError):
        screen.take(KeyError("web"))


def test_samples_become_rates_and_a_history(screen: Screen) -> None:
    """The first is no rate yet; one that is seen twice counts once; a problem takes nothing."""
    samples = [Sample(at, {"web": ()}, {"web": {"accepted": at * 10}}, {}) for at in (1, 2, 4)]
    for latest in (None, samples[0], *samples[:2], Refused("no")):
        screen.take(latest)
    assert screen.seen.problem == "no"
    assert screen.seen.rates.of("web") == {"accepted": 10.0}
    screen.take(samples[2])
    assert screen.seen.history == {"web": (10.0, 10.0)}
    assert screen.seen.problem == ""


@pytest.mark.parametrize("bars", [draw.BARS, draw.PLAIN_BARS])
def test_sparklines(bars: str) -> None:
    drawn = draw.sparkline([0.0, 0.1, 50.0, 100.0], 6, bars)
    assert drawn == f"  {bars[0]}{bars[1]}{bars[4]}{bars[-1]}"
    assert draw.sparkline([0.0] * 90, 8, bars) == bars[0] * 8
    assert draw.sparkline([1.0], 0, bars) == draw.sparkline([], 0, bars) == ""
