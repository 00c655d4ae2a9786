"""`python -m benchmarks.relay`: vipctl's relay, and plain multicast, between two namespaces.

In each round all ways have their turn, so that what else the machine does, it does to all.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.relay.page import Row, Turn, table, written
from benchmarks.relay.ways import Way, way
from tests.harness import synced
from tests.harness.guest import REPOSITORY
from tests.harness.relays import DEVICE
from tests.netns.relayed import records, site

PAGE = REPOSITORY / "docs" / "two-directors.md"
CONNECTIONS = 20_000
FULL = 40  # records that fit into a message
ROUNDS, SECONDS = 7, 2.0
PLAIN, TLS = "plain multicast", "`vipctl sync`"
WAYS = {PLAIN: None, TLS: None, "`--insecure-udp`": ["--insecure-udp"]}
OFFERED = 0.5, 2.0  # of what comes by TLS


def main() -> int:
    """Measure and print; a complete run is a section of the page."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.relay", description=__doc__)
    options.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    rounds = options.parse_args().rounds
    told = records(CONNECTIONS)
    with _all_ways() as ways:
        rows = [row for number in (FULL, 1) for row in _rows(ways, told, number, rounds)]
    print(table(rows))
    if rounds >= ROUNDS:
        by_tls = next(row for row in rows if (row.name, row.number) == (TLS, FULL))
        PAGE.write_text(written(PAGE.read_text(), rows, by_tls))
        print(f"bench: wrote {PAGE.relative_to(REPOSITORY)}")
    return 0


@contextmanager
def _all_ways() -> Iterator[list[Way]]:
    with ExitStack() as stack:
        yield [stack.enter_context(_way(name, security)) for name, security in WAYS.items()]


@contextmanager
def _way(name: str, security: Sequence[str] | None) -> Iterator[Way]:
    """Between two directors of its own."""
    with tempfile.TemporaryDirectory() as directory, site(Path(directory), 2) as two:
        if name != PLAIN:
            two.start(security=security)
        with way(name, two.directors, "eth0" if name == PLAIN else DEVICE) as found:
            yield found


def _rows(ways: Sequence[Way], told: Sequence[bytes], number: int, rounds: int) -> list[Row]:
    """With so many records in each message."""
    messages = [synced.message(told[at : at + number]) for at in range(0, len(told), number)]
    by_way = list(zip(*(_round(ways, messages) for _ in range(rounds)), strict=True))
    return [
        Row(way.name, number, turns, by_way[0]) for way, turns in zip(ways, by_way, strict=True)
    ]


def _round(ways: Sequence[Way], messages: Sequence[bytes]) -> list[Turn]:
    carried = {way.name: way.carried(messages, SECONDS) for way in ways}
    rate = carried[TLS].messages / carried[TLS].seconds
    return [Turn(carried[way.name], _lost(way, messages, rate)) for way in ways]


def _lost(way: Way, messages: Sequence[bytes], rate: float) -> list[float]:
    """Shares of what was sent."""
    offered = [way.offered(messages, share * rate, SECONDS) for share in OFFERED]
    return [1 - came.messages / came.sent for came in offered]


if __name__ == "__main__":
    sys.exit(main())
