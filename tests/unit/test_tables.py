"""Tables fit the room that there is, and break no word for it."""

import random
from unittest import mock

import pytest

from vipctl.cli import output, tables

HEADERS = ["SERVICE", "PORTS", "PACKETS IN", "WHY"]
ROWS = [
    ["web2", "tcp/80 tcp/443", "1,234,567,890", "connection refused"],
    ["web10", "udp/53", "7", ""],
]


def drawn(room: int | None, rows: list[list[str]] = ROWS) -> list[str]:
    with mock.patch.object(tables, "width", return_value=room):
        return tables.table(HEADERS, rows, {"PACKETS IN"}).splitlines()


def plain(lines: list[str]) -> str:
    return "\n".join(lines).replace("\x1b[1m", "").replace("\x1b[0m", "")


def test_where_there_is_room_nothing_is_broken() -> None:
    wide = plain(drawn(None))
    assert plain(drawn(200)) == wide
    assert wide.splitlines()[1].startswith("web2     tcp/80 tcp/443  1,234,567,890  connection ref")
    assert plain(drawn(max(map(len, wide.splitlines())))) == wide


def test_words_go_on_below_then_numbers_get_short_then_rows_stand_alone() -> None:
    assert plain(drawn(50)).splitlines() == [
        "SERVICE  PORTS            PACKETS IN  WHY",
        "web2     tcp/80        1,234,567,890  connection",
        "         tcp/443                      refused",
        "web10    udp/53                    7",
    ]
    assert plain(drawn(37)).splitlines() == [
        "SERVICE  PORTS    PACKETS  WHY",
        "                       IN",
        "web2     tcp/80     1.23G  connection",
        "         tcp/443           refused",
        "web10    udp/53         7",
    ]
    assert plain(drawn(32)).splitlines() == [
        "web2",
        "  PORTS tcp/80 tcp/443",
        "  PACKETS IN 1,234,567,890",
        "  WHY connection refused",
        "web10",
        "  PORTS udp/53  PACKETS IN 7",
    ]


@pytest.mark.parametrize("room", range(1, 80, 3))
def test_no_line_is_longer_than_the_room_or_a_word(room: int) -> None:
    source = random.Random(room)
    words = ["a" * source.randrange(1, 12) for _ in range(40)]
    rows = [[" ".join(source.choices(words, k=3)) for _ in HEADERS] for _ in range(5)]
    lines = plain(drawn(room, rows)).splitlines()
    longest = max(len(word) + 2 for line in lines for word in line.split())
    assert max(map(len, lines)) <= max(room, longest, 10)
    said = sorted(word for row in rows for cell in row for word in cell.split())
    left = " ".join(lines).split()
    assert all(left.count(word) >= said.count(word) for word in said)


def test_prose_goes_on_below_and_commands_stay_whole() -> None:
    command = "  → " + "vipctl restore " * 5
    with mock.patch.object(output, "width", return_value=20):
        assert output.fitted(f"{command}\n  one two three four five six").splitlines() == [
            command,
            "  one two three four",
            "    five six",
        ]
