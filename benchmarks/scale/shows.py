"""What the figures show: the summary, and the sections of single questions. Pure."""

from collections.abc import Iterator
from statistics import median

from benchmarks.scale.plan import LIMIT, METHODS
from benchmarks.scale.record import STOPPED, Loaded, Results, Served
from benchmarks.scale.words import nbytes, ratio, seconds, table

MORE_LIMIT = 1.2  # one range more: many to few
CPU_LIMIT = 0.3  # seconds, `fwmark`
RSS_LIMIT = 400e6
FACTOR, CONSTANT = 1.5, 2.0  # of a load: times the raw one, and seconds
BASE = "fwmark"
LARGE = 65_536
TOLD = {True: "kept", False: "**not kept**"}


def summary(results: Results) -> Iterator[str]:
    """Yield three sentences."""
    yield _of_size(results)
    yield _of_peers(results)
    yield _of_more(results)


def _of_size(results: Results) -> str:
    size = max(results.sizes(), default=0)
    told = []
    for method in METHODS:
        load, rss = (results.middle(method, size, "load", what) for what in ("wall", "rss"))
        if load and rss:
            told.append(f"`{method}` in {seconds(load)} with {nbytes(rss)}")
    if not told:
        return f"No method of vipctl loads {size:,} scattered VIPs within {LIMIT:.0f} s."
    return f"vipctl makes a director accept {size:,} scattered VIPs: {', '.join(told)}."


def _of_peers(results: Results) -> str:
    size = max((s for s in results.sizes() if s <= LARGE), default=0)
    own = results.middle(BASE, size, "load")
    told = [
        f"{title} takes {_times(results, name, size, own)} as long"
        for name, title in (("address", "one address per VIP"), ("rule", "one rule per VIP"))
        if own and results.of(name, size)
    ]
    if not told:
        return f"With {size:,}, there is nobody to compare with."
    return f"With {size:,}, loaded by `{BASE}` in {seconds(own or 0)}, {', '.join(told)}."


def _times(results: Results, name: str, size: int, own: float) -> str:
    load = results.middle(name, size, "load")
    if load:
        return f"{ratio(load / own)} times"
    return f"more than {ratio(LIMIT / own)} times"


def _of_more(results: Results) -> str:
    found = next((p for p in results.pairs if p.method == BASE), None)
    if not found:
        return "One range more was not measured."
    cpu, times = seconds(median(found.cpu_many)), ratio(median(found.ratios))
    return (
        f"One range more, with {found.many:,} there, takes {cpu} of a processor, {times} times "
        f"as long as with {found.few:,}."
    )


def sections(results: Results) -> Iterator[str]:
    """Yield those that something was measured for."""
    if results.pairs:
        yield f"## One range more, with many and with few\n\n{_pairs(results)}"
    if results.files:
        yield f"## Whole files\n\n{_files(results)}"
    if results.starts:
        yield f"## Starting\n\n{_starts(results)}"
    if results.served:
        yield f"## With IPVS, in a guest\n\n{_served(results)}"


def _pairs(results: Results) -> str:
    rows = []
    for p in results.pairs:
        times, cpu = median(p.ratios), median(p.cpu_many)
        limit = TOLD[cpu <= CPU_LIMIT] if p.method == BASE else ""
        sizes = f"{p.many:,} to {p.few:,}"
        kept = TOLD[times <= MORE_LIMIT]
        few = seconds(median(p.cpu_few))
        rows.append(
            [f"`{p.method}`", sizes, f"**{ratio(times)}** {kept}", f"{seconds(cpu)} {limit}", few]
        )
    heads = ["", "sizes", "ratio of times", "processor time, many", "processor time, few"]
    return table(heads, rows) + (
        f"\nMedian of {len(results.pairs[0].ratios)} pairs, in turn; the limits are a ratio of "
        f"{MORE_LIMIT} and {seconds(CPU_LIMIT)} for `{BASE}`.\n"
    )


def _files(results: Results) -> str:
    heads = ["", "", "time", "mechanism's limit", f"{FACTOR} × limit + {CONSTANT:.0f} s", "memory"]
    rows = [[file.what, f"`{file.method}`", *_loaded(file)] for file in results.files]
    return table(heads, rows) + (
        "\nThe limit of `route` is that of its routes and of the map from them to marks. "
        f"The limit of memory is {nbytes(RSS_LIMIT)}.\n"
    )


def _loaded(file: Loaded) -> list[str]:
    raw = "–" if file.raw is None else seconds(file.raw)
    allowed = None if file.raw is None else FACTOR * file.raw + CONSTANT
    target = "–" if allowed is None else seconds(allowed)
    if not file.spent:
        why = f"more than {LIMIT:.0f} s" if file.outcome == STOPPED else "failed"
        return [why, raw, f"{target} {TOLD[False]}" if allowed else target, "–"]
    wall, rss = file.spent.wall, file.spent.rss
    times = f"{seconds(wall)}, **{ratio(wall / file.raw)}** times" if file.raw else seconds(wall)
    kept = f"{target} {TOLD[wall <= allowed]}" if allowed else target
    return [times, raw, kept, f"{nbytes(rss)} {TOLD[rss <= RSS_LIMIT]}"]


def _starts(results: Results) -> str:
    middle = {start.words: median(start.cpu) for start in results.starts}
    rows = []
    for words, cpu in middle.items():
        bare = middle.get(f"bare click {words.split()[-1]}", cpu)
        rows.append([f"`{words}`", f"**{ratio(cpu / bare)}** ({seconds(cpu)})"])
    count = len(results.starts[0].cpu)
    heads = ["", "processor time, to a program with click that does nothing"]
    return table(heads, rows) + f"\nMedian of {count} starts, in turn.\n"


def _served(results: Results) -> str:
    """Return times of acceptance and balancing, as ratios to vipctl's."""
    base = {s.size: s for s in results.served if s.contestant == BASE}
    rows = []
    for served in results.served:
        own = base.get(served.size)
        cells = [_part(served, own, part) for part in ("load", "remove")]
        rows.append([served.contestant, f"{served.size:,}", *cells])
    machine = "; ".join(f"{key}: {value}" for key, value in results.guest.items())
    return (
        table(["", "VIPs", "until all are there", "until all are gone"], rows) + f"\n{machine}.\n"
    )


def _part(served: Served, base: Served | None, part: str) -> str:
    own = getattr(served, part)
    told = seconds(own)
    return f"**{ratio(own / getattr(base, part))}** ({told})" if base else told
