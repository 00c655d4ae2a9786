"""Tables of costs, and the page that holds them. Pure."""

from collections.abc import Sequence

from benchmarks.datapath.plan import METHODS, NOTHING, OWNED, VIPS, Cost, heading
from vipctl.addresses.prefixes import VERSIONS

HEAD = """# The cost of a packet

Instructions that the director's kernel executes for a packet, from the device's receive to the
device's transmit, and their ratio to a director that needs no vipctl.
"""
TAIL = """
How this page came about: `make bench-datapath` measured it under Linux {release}, in a QEMU guest
that counts instructions (`-icount shift=0`): a nanosecond of its clock is an instruction, so that
the same packet costs the same every time, on every machine. Instructions are not time: what
a processor waits for memory does not show, which is most where a million prefixes are not in its
caches.

- A program writes UDP datagrams of 18 bytes to a tap device; the kernel does all of its work within
  that system call. The packets end in a dummy device, behind which the real server (`--forward dr`)
  or the next router is; every one is counted there.
- {vips:,} VIPs, each with a connection that exists already, drawn at random from the prefixes: from
  one prefix, or from scattered addresses (/32, /128) that are drawn at random from all public ones.
  Prefixes of several lengths are those around these addresses, each length as often as any other.
  `owned` has the same {vips:,} VIPs as addresses of the tap, each an IPVS service.
- Other packets are for {vips:,} destinations, scattered likewise, that are no VIPs: they are
  forwarded by the default route. `nothing` is IPVS and nothing else.
- Prefixes were loaded by the methods' own code, not by the command line. `rp_filter` is 0,
  connections are not tracked.
- The numbers are net: what the sender and the tap need until the packet is at the network's door
  ({harness} instructions) is measured with a tap that refuses all and is subtracted. With it all
  ratios are nearer to 1, as in the last tables. Timer interrupts are left out.
"""


def page(costs: Sequence[Cost], release: str) -> str:
    """Return all of docs/datapath.md."""
    harness = " and ".join(sorted({f"{cost.harness:,.0f}" for cost in costs}))
    tail = TAIL.format(release=release, vips=VIPS, harness=harness)
    gross = "\nThe same with the work of sender and tap:\n\n" + tables(costs, gross=True)
    return f"{HEAD}\n{tables(costs)}{tail}{gross}"


def tables(costs: Sequence[Cost], *, gross: bool = False) -> str:
    """Return a table for each kind of traffic and IP version."""
    parts = []
    for traffic, title, baseline in (
        ("VIPs", "Packets for VIPs", OWNED),
        ("other", "Other packets, forwarded", NOTHING),
    ):
        for version in VERSIONS:
            chosen = [c for c in costs if (c.traffic, c.version) == (traffic, version)]
            if chosen:
                parts.append(_table(f"{title}, IPv{version}", baseline, chosen, gross=gross))
    return "\n".join(parts)


def _table(title: str, baseline: str, costs: Sequence[Cost], *, gross: bool) -> str:
    version = costs[0].version
    columns = sorted({(c.lengths, c.size) for c in costs if c.method in METHODS})
    found = {(c.method, c.lengths, c.size): c.gross if gross else c.net for c in costs}
    heads = [heading(version, size, lengths) for lengths, size in columns]
    lines = [f"| {title} | {' | '.join(heads)} |", "|---|" + "---|" * len(columns)]
    for method in (baseline, *METHODS):
        cells = [_cell(found, method, column, baseline) for column in columns]
        lines.append(f"| `{method}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(
    found: dict[tuple[str, int, int], float], method: str, column: tuple[int, int], baseline: str
) -> str:
    """Return the ratio, and the instructions."""
    base = found[baseline, 1, _base_size(baseline, column[1])]
    own = base if method == baseline else found.get((method, *column))
    return "–" if own is None else f"**{own / base:.2f}** ({own:,.0f})"


def _base_size(baseline: str, size: int) -> int:
    """Return which baseline a size is compared with: see `plan.Case`."""
    if baseline == NOTHING:
        return 0
    return 1 if size == 1 else VIPS
