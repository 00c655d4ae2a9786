"""The section of docs/two-directors.md that `make bench-relay` writes. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks import section
from benchmarks.relay.ways import WINDOW, Came

TITLE = "### What it carries"
HEADS = [
    "",
    "records a second",
    "processor time of a record",
    "bytes on the link of a record",
    "lost, at half of what comes by TLS",
    "lost, at twice",
]
TEXT = """{title}

Records, each of which tells of a connection, from the tun device of one director to that of
another: {full} of them in a message, as the kernel fills it while it has many to tell, or one,
which is the worst. Beside it, the same messages by plain multicast on a link between two
namespaces, which counts as 1. One program in Python sends and reads them all:

{table}
The relay looks at each record, where it leaves a director and where it comes. That costs a director
{each:.1f} µs of a processor by TLS, if messages are full: with a processor of its own, it tells of
{rate:,} connections a second, or hears of so many. The kernel tells again, every two seconds, of
each that has traffic. Of what is too much, the oldest is dropped.

`make bench-relay` measured this in namespaces of one machine that did other things as well, so only
ratios count: medians of {rounds} rounds, in each of which all have their turn. In the first three
columns a message is sent when fewer than {window} are on the way: of {sent:,} messages that were
sent, {lost:,} were lost, and {records:,} records came, {size:,} MB. Processor time is that of all
processes; bytes on the link are those in both directions, with all headers.
"""


@dataclass(frozen=True, slots=True)
class Turn:
    """Of one round: what came of as much as goes, and of what was offered, the shares lost."""

    came: Came
    lost: Sequence[float]


@dataclass(frozen=True, slots=True)
class Row:
    """A way, with so many records in each message; `plain` are the same rounds of multicast."""

    name: str
    number: int
    turns: Sequence[Turn]
    plain: Sequence[Turn]

    def ratio(self, of: Callable[[Came], float]) -> float:
        """To plain multicast."""
        both = zip(self.turns, self.plain, strict=True)
        return median(of(turn.came) / of(plain.came) for turn, plain in both)

    def cells(self) -> list[str]:
        on_link = median(turn.came.link / turn.came.records for turn in self.turns)
        lost = zip(*(turn.lost for turn in self.turns), strict=True)
        return [
            f"{self.name}, {self.number} in a message",
            f"{self.ratio(lambda came: came.records / came.seconds):.3f}",
            f"{self.ratio(lambda came: came.used / came.records):.1f}",
            f"{on_link:.0f}",
            *(f"{100 * median(shares):.0f} %" for shares in lost),
        ]


def table(rows: Sequence[Row]) -> str:
    """In Markdown."""
    lines = [HEADS, ["---"] * len(HEADS), *(row.cells() for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def written(page: str, rows: Sequence[Row], by_tls: Row) -> str:
    """The page with that section, new or for the first time."""
    each = median(turn.came.relays / turn.came.records / 2 for turn in by_tls.turns)
    all_came = [turn.came for row in rows for turn in row.turns]
    made = TEXT.format(
        title=TITLE,
        full=by_tls.number,
        table=table(rows),
        each=1e6 * each,
        rate=round(1 / each / 1000) * 1000,
        rounds=len(by_tls.turns),
        window=WINDOW,
        sent=sum(came.sent for came in all_came),
        lost=sum(came.sent - came.messages for came in all_came),
        records=sum(came.records for came in all_came),
        size=sum(came.bytes for came in all_came) // 1_000_000,
    )
    return section.written(page, TITLE, made)
