"""docs/benchmarks.md from what was measured. Pure.

The figures of one table are of the same runs: who is compared was measured in turn.
"""

from collections.abc import Callable, Iterator, Sequence

from benchmarks.scale import shows
from benchmarks.scale.plan import CONTESTANTS, LIMIT, RAW, SAMPLE, SEED, SLOW
from benchmarks.scale.record import STOPPED, Results, total
from benchmarks.scale.words import nbytes, ratio, seconds, table

BASE = "fwmark"
HEAD = """# From a thousand VIPs to a million

{summary}

![Seconds to load](plots/load.svg) ![Seconds for one range more](plots/more.svg)
![Memory of the largest process](plots/rss.svg) ![Memory of the kernel](plots/kernel.svg)

Solid and thick is vipctl, thin a peer, dashed what the kernel alone takes; a cross is where a peer
was stopped, after two minutes. A colour is a mechanism of the kernel.

In the tables by size the bold figure is a ratio to `fwmark`, vipctl's default without its module,
at the same size.
"""
TAIL = """
## How this was measured

`make bench` measured it{guest}, and wrote this page from [`benchmarks.json`](benchmarks.json),
which has every single run. {machine}

- VIPs are scattered addresses (/32), drawn at random (seed {seed}) from all public ones; those of
  one size are among those of the next.
- Everybody is measured in turn: at each size one after another, and then again, up to {rounds}
  times; figures are medians. Each time director and client are new network namespaces.
- A command is a process of its own, timed from its start to its end, when packets are accepted. One
  that takes longer than {limit:.0f} s is stopped, with all that it started, and larger sizes are
  not tried. A load of more than {slow:.0f} s is not repeated.
- vipctl: `vipctl add-range @FILE --fwmark 17 --method METHOD`; one more: `vipctl add-range ADDRESS
  --fwmark 17`; remove all: `vipctl remove-range @FILE`. It also keeps what it is told on disk, and
  checks what there is.
- One address per VIP: `ip -batch` of `addr add`, on a bridge without ports; removed with the
  bridge. One rule per VIP, as kube-router has for external IPs: `ip -batch` of `rule add pref 32764
  to VIP lookup 77`; removed by a batch of `rule del`. Local routes: `ip -batch` of `route add local
  VIP dev lo table local`; removed with `ip route flush`.
- `nft -f`: one `add element` with all VIPs, into a set that a rule in PREROUTING asks; removed with
  `flush set`. `ipset restore`: one `add` a line, into a set that has its final size from the start;
  removed with `ipset flush`.
- Raw: netlink messages that are packed before the clock starts (`benchmarks/raw`). RTM_NEWROUTE, a
  megabyte to a system call and one acknowledgement; NFT_MSG_NEWSETELEM, all in one batch, into
  a map from address to mark of fixed size, or one that grows; IPSET_CMD_ADD, hundreds of entries
  to a message, a megabyte to a system call, into a set that has its final size. What was loaded is
  counted.
- What others than vipctl need besides (table, set, rule, route) is there before the clock starts.
- After loading, datagrams from the client to {sample} VIPs, drawn at random, and to {sample} other
  addresses: exactly those for VIPs reach LOCAL_IN. Again with the one more; and none do when all
  are removed.
- Memory of a process is its peak resident set (`getrusage`), that of the largest if there are
  several; it is never less than that of the program that measures (12 MB). Memory of the kernel is
  SUnreclaim + VmallocUsed + Percpu of `/proc/meminfo`, after loading minus before, when it no
  longer changes; below 1 MB it is not shown.
"""
Value = Callable[[str, int], float | None]
Text = Callable[[float], str]
Absent = Callable[[Results, str, int], str]


def page(results: Results) -> str:
    """Return all of docs/benchmarks.md."""
    parts = [HEAD.format(summary="\n".join(shows.summary(results))), *_tables(results)]
    parts += shows.sections(results)
    return "\n".join(parts) + _tail(results)


def tables(results: Results) -> str:
    """Return what a run prints."""
    return "\n".join([*_tables(results), *shows.sections(results)])


def _tables(results: Results) -> Iterator[str]:
    for title, step, what in (
        ("Loading", "load", "wall"),
        ("Loading: time of processors", "load", "cpu"),
        ("One range more", "more", "wall"),
        ("Removing all", "remove", "wall"),
        ("Memory of the largest process, loading", "load", "rss"),
    ):
        yield f"## {title}\n"
        yield _table(
            results, *_value(results, step, what), _least if title == "Loading" else _absent
        )
    yield "## Memory of the kernel\n"
    yield _table(results, lambda name, size: _shown(results.kernel(name, size)), nbytes, _absent)
    yield "## What vipctl takes, against its mechanism's limit\n"
    yield _overhead(results)


def _value(results: Results, step: str, what: str) -> tuple[Value, Text]:
    def value(name: str, size: int) -> float | None:
        return results.middle(name, size, step, what) or None

    return value, nbytes if what == "rss" else seconds


def _shown(value: float | None) -> float | None:
    return value if value and value >= 1e6 else None


def _table(results: Results, value: Value, text: Text, absent: Absent) -> str:
    sizes, rows = results.sizes(), []
    for contestant in CONTESTANTS:
        cells = []
        for size in sizes:
            own, base = value(contestant.name, size), value(BASE, size)
            cells.append(_told(own, base, text) or absent(results, contestant.name, size))
        if any(cell != "–" for cell in cells):
            rows.append([contestant.title, *cells])
    return table(["", *(f"{size:,}" for size in sizes)], rows)


def _told(own: float | None, base: float | None, text: Text) -> str:
    if own is None:
        return ""
    return f"**{ratio(own / base)}** ({text(own)})" if base else f"({text(own)})"


def _absent(results: Results, name: str, size: int) -> str:
    return STOPPED if any(run.outcome == STOPPED for run in results.of(name, size)) else "–"


def _least(results: Results, name: str, size: int) -> str:
    """Return how many times longer a load takes at least that was stopped."""
    load = results.middle(BASE, size, "load")
    if load and results.stopped(name, size):
        return f"more than **{ratio(LIMIT / load)}** (stopped)"
    return _absent(results, name, size)


def _overhead(results: Results) -> str:
    """Return seconds of vipctl's methods as ratios to the raw loads of the same runs."""
    sizes, rows = results.sizes(), []
    for method, raw in RAW.items():
        cells = []
        for size in sizes:
            own = results.middle(method, size, "load")
            limit = total(results.middle(name, size, "load") for name in raw)
            told = f"**{ratio(own / limit)}** (+ {seconds(own - limit)})" if own and limit else "–"
            cells.append(told)
        rows.append([f"`{method}` to {' and '.join(map(_title, raw))}", *cells])
    told = "\nTimes what only the sending takes, and how much longer.\n"
    return table(["", *(f"{size:,}" for size in sizes)], rows) + told


def _title(name: str) -> str:
    return next(c.title for c in CONTESTANTS if c.name == name)


def _tail(results: Results) -> str:
    machine = "; ".join(f"{key}: {value}" for key, value in results.machine.items())
    runs: Sequence[int] = [len(results.of(c.name, s)) for c in CONTESTANTS for s in results.sizes()]
    guest = ", `make bench-guest` what is said to be of a guest" if results.served else ""
    numbers = {
        "seed": SEED,
        "limit": LIMIT,
        "slow": SLOW,
        "sample": SAMPLE,
        "rounds": max(runs, default=0),
    }
    return TAIL.format(guest=guest, machine=f"{machine}." if machine else "", **numbers)
