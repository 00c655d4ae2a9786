"""The section of docs/two-directors.md that `make bench-takeover` writes. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks import section
from tests.failover.pairs import STEP

TITLE = "### Power off, beside keepalived alone"
OWN = 3 + (256 - 100) / 256  # seconds of VRRP: three advertisements, and the skew of priority 100
TEXT = """{title}

What the power cut of `vrrp/` costs, and what it costs where keepalived alone has the VIPs: they are
its `virtual_ipaddress`, each has its `virtual_server`, and advertisements, priorities, groups and
scheduler are those of `vrrp/` ([`alone.conf`](../tests/failover/alone.conf)). Power goes right
after an advertisement, which is the worst moment. From the last datagram that was answered before
to the first one after, in seconds, median (least to most):

{table}
`make bench-takeover` measured this under Linux {release}, in a QEMU guest of a machine that did
other things as well: {rounds} rounds, in each of which both have their turn. Datagrams were
{step} ms apart. That power off costs none beside the gap is what `make failover` tests, of both.
"""


@dataclass(frozen=True, slots=True)
class Cut:
    """Power off and on again: seconds of IPv4 and IPv6, and how many were lost when it was back."""

    name: str
    seconds: Sequence[float]
    later: int


def table(cuts: Sequence[Cut]) -> str:
    """In Markdown: vipctl's, keepalived's, and the ratio of each round."""
    ours, theirs = (
        [cut for cut in cuts if cut.name == name] for name in dict.fromkeys(c.name for c in cuts)
    )
    own = f"{OWN:.2f}"
    lines = [
        ["", "IPv4", "IPv6", "lost when power is back"],
        ["---"] * 4,
        ["VRRP's own time", own, own, ""],
        *(
            [each[0].name, *_times(each), str(sum(c.later for c in each))]
            for each in (ours, theirs)
        ),
        ["ratio within a round", *_ratios(ours, theirs), ""],
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _times(cuts: Sequence[Cut]) -> list[str]:
    return [_spread(seconds) for seconds in zip(*(c.seconds for c in cuts), strict=True)]


def _ratios(ours: Sequence[Cut], theirs: Sequence[Cut]) -> list[str]:
    rounds = zip(ours, theirs, strict=True)
    ratios = [[a / b for a, b in zip(one.seconds, two.seconds, strict=True)] for one, two in rounds]
    return [_spread(found) for found in zip(*ratios, strict=True)]


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def written(page: str, cuts: Sequence[Cut], release: str) -> str:
    """The page with that section, new or for the first time."""
    values = {"release": release, "rounds": len(cuts) // 2, "step": round(1000 * STEP)}
    return section.written(page, TITLE, TEXT.format(title=TITLE, table=table(cuts), **values))
