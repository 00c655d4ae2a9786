"""What tables of sizes do not show: one range more among many, the start, whole files."""

import itertools
import json
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.scale.plan import MARK, METHODS, RAW, SAMPLE, SEED, mixed, others, vips
from benchmarks.scale.record import STOPPED, Loaded, Pairs, Spent, Start, total
from benchmarks.scale.site import ACCIDENTS, Site, Stopped, site
from benchmarks.scale.ways import VIPCTL, WAYS, Case, vipctl, write

FEW = 1_000
PAIRS = 20
STARTS = 10
MIXED = 100_000
BARE = [sys.executable, str(Path(__file__).with_name("bare.py"))]
WORDS = {
    "vipctl --version": [str(VIPCTL), "--version"],
    "vipctl --help": [str(VIPCTL), "--help"],
    "bare click --version": [*BARE, "--version"],
    "bare click --help": [*BARE, "--help"],
}


def pairs(method: str, many: int) -> Pairs | None:
    """Add one address to many and one to few, in turn."""
    with ExitStack() as stack:
        few_site, many_site = (stack.enter_context(site()) for _ in range(2))
        try:
            for size, built in ((FEW, few_site), (many, many_site)):
                built.timed(WAYS[method](built, Case(4, vips(4, size), others(4)[0])).load)
            found = [_pair(few_site, many_site, extra) for extra in others(4)[-PAIRS:]]
        except (Stopped, *ACCIDENTS) as error:
            print(f"bench: {method}, one more: {error}", file=sys.stderr)
            return None
    few, most = zip(*found, strict=True)
    ratios = [b.wall / a.wall for a, b in found]
    return Pairs(method, FEW, many, ratios, [s.cpu for s in few], [s.cpu for s in most])


def _pair(few: Site, many: Site, extra: str) -> tuple[Spent, Spent]:
    one, other = (
        built.timed(vipctl(built, "add-range", extra, "--fwmark", str(MARK)))
        for built in (few, many)
    )
    return one, other


def starts() -> list[Start]:
    """Start each program, in turn."""
    spent: dict[str, list[float]] = {words: [] for words in WORDS}
    with site() as built:
        for _ in range(STARTS):
            for words, argv in WORDS.items():
                spent[words].append(built.timed(argv).cpu)
    return [Start(words, cpu) for words, cpu in spent.items()]


def files(methods: Sequence[str], size: int) -> Iterator[Loaded]:
    """Load files of several kinds with each method; compare with its mechanism's limit."""
    for version, method in itertools.product((4, 6), methods):
        case = Case(version, vips(version, size), others(version)[0])
        raw = total(_raw(name, case) for name in RAW[method])
        yield from _loads(method, f"{size:,} IPv{version} addresses", case, raw)
    for method in methods:
        count = min(MIXED, size)
        what = f"{count:,} prefixes, /24 to /32"
        yield from _loads(method, what, Case(4, mixed(count), others(4)[0]), None)
    for method in methods:
        yield from _replacements(method, size)


def _raw(name: str, case: Case) -> float | None:
    """Return seconds that only the sending takes."""
    try:
        with site() as built:
            built.timed(WAYS[name](built, case).load)
            return float(json.loads(built.printed.read_text())["wall"])
    except (Stopped, *ACCIDENTS) as error:
        print(f"bench: {name}: {error}", file=sys.stderr)
        return None


def _loads(method: str, what: str, case: Case, raw: float | None) -> Iterator[Loaded]:
    with site() as built:
        loaded = _timed(built, method, what, [WAYS[method](built, case).load], raw)
        yield _checked(built, case, loaded)


def _checked(built: Site, case: Case, loaded: Loaded) -> Loaded:
    """Have some of what was loaded accepted, where there is a lab for it."""
    if not loaded.spent or case.version != 4:
        return loaded
    members = random.Random(SEED).sample(case.vips, SAMPLE)
    try:
        built.check([member.partition("/")[0] for member in members], others(4)[1:SAMPLE])
    except ACCIDENTS as error:
        return replace(loaded, outcome=f"failed: {error}"[:200], spent=None)
    return loaded


def _timed(
    built: Site, method: str, what: str, commands: Sequence[Sequence[str]], raw: float | None
) -> Loaded:
    """Run commands one after another; what they took together."""
    try:
        spent = [built.timed(argv) for argv in commands]
    except Stopped:
        return Loaded(method, what, STOPPED, raw=raw)
    except ACCIDENTS as error:
        print(f"bench: {method}, {what}: {error}", file=sys.stderr)
        return Loaded(method, what, f"failed: {error}"[:200], raw=raw)
    wall, cpu = sum(s.wall for s in spent), sum(s.cpu for s in spent)
    return Loaded(method, what, "", Spent(wall, cpu, max(s.rss for s in spent)), raw)


def _replacements(method: str, size: int) -> Iterator[Loaded]:
    """Go from one set to another that shares half: a file applied, or two commands."""
    half = size // 2
    with site() as built:
        first, second = (_applied(built, method, vips(4, size, at)) for at in (0, half))
        if not _timed(built, method, "", [first], None).outcome:
            yield _timed(
                built, method, f"{size:,} replaced, half of them, `apply` of @FILE", [second], None
            )
    with site() as built:
        new = "@" + write(built, "new", vips(4, half, size))
        old = "@" + write(built, "old", vips(4, half))
        load = WAYS[method](built, Case(4, vips(4, size), others(4)[0])).load
        add = vipctl(built, "add-range", new, "--fwmark", str(MARK))
        if not _timed(built, method, "", [load], None).outcome:
            what = f"{size:,} replaced, half of them, `add-range` and `remove-range`"
            remove = vipctl(built, "remove-range", old)
            yield _timed(built, method, what, [add, remove], None)


def _applied(built: Site, method: str, addresses: Sequence[str]) -> list[str]:
    """Return a command that makes these all there is."""
    listed = "@" + write(built, f"{addresses[0]}.txt", addresses)
    services = {f"fwmark-{MARK}": {"method": method, "ranges": [listed]}}
    document = json.dumps({"services": services})
    return vipctl(built, "apply", write(built, f"{addresses[0]}.json", [document]))


def methods(names: Sequence[str]) -> list[str]:
    """Return those of vipctl's methods that are asked for."""
    return [name for name in METHODS if name in names]
