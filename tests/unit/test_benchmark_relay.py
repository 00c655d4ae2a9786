"""The section of docs/two-directors.md that a benchmark writes."""

from benchmarks.relay.page import TITLE, Row, Turn, written
from benchmarks.relay.ways import Came

PLAIN = [Turn(Came(100, 100, 4000, 144_000, 152_000, 1.0, 0.004, 0.0), [0.0, 0.0])] * 3
RELAY = [Turn(Came(10, 10, 400, 14_400, 16_000, 2.0, 0.01, 0.008), [0.0, 0.5])] * 3
PAGE = "# Two directors\n\n## Connection sync\n\nText.\n"


def test_a_section_is_written_and_written_again() -> None:
    plain, relay = Row("plain", 40, PLAIN, PLAIN), Row("relay", 40, RELAY, PLAIN)
    first = written(PAGE, [plain, relay], relay)
    assert first.startswith(PAGE)
    assert "| plain, 40 in a message | 1.000 | 1.0 | 38 | 0 % | 0 % |" in first
    assert "| relay, 40 in a message | 0.050 | 25.0 | 40 | 0 % | 50 % |" in first
    text = " ".join(first.split())
    assert "costs a director 10.0 µs of a processor" in text
    assert "it tells of 100,000 connections a second" in text
    assert "of 330 messages that were sent, 0 were lost, and 13,200 records came" in text
    after = f"{first}\n## Next\n\nEnd.\n"
    again = written(after, [plain, relay, relay], relay)
    assert again.count(TITLE) == 1
    assert again.endswith("\n\n## Next\n\nEnd.\n")
    assert again.count("| relay, 40") == 2
