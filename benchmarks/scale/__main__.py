"""Measure vipctl and its peers in turn, on this kernel; write docs/benchmarks.json and the page.

A part (--sizes, --only, --skip-shows) is written below build/bench, unless --publish is given.
"""

import argparse
import compileall
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from benchmarks import host
from benchmarks.scale import documents, guest, machine, rounds, special
from benchmarks.scale.page import tables
from benchmarks.scale.plan import BY_NAME, ROUNDS, SIZES
from benchmarks.scale.record import Results, read, write
from tests.harness.guest import REPOSITORY

SO_FAR = host.HOME / "so-far.json"  # should something end it before its time
OF_GUEST = ("guest", "served")


def _run(options: argparse.Namespace) -> int:
    """Measure here or in the guest; the figures of the other stay as they were."""
    path = _path(options)
    if options.guest:
        status, fresh = guest.measure(options.kernel)
    else:
        status, fresh = 0, _measured(options)
    if status:
        return status
    known = read(path if path.exists() else documents.JSON)
    for name in (field.name for field in fields(Results)):
        if (name in OF_GUEST) == options.guest:
            setattr(known, name, getattr(fresh, name))
    _write(path, known)
    return 0


def _measured(options: argparse.Namespace) -> Results:
    """Measure on this kernel, in namespaces; say what is found as it is found."""
    names, sizes = host.chosen(options.only), [int(size) for size in host.chosen(options.sizes)]
    compileall.compile_dir(REPOSITORY / "vipctl", quiet=1)
    host.HOME.mkdir(parents=True, exist_ok=True)
    found = Results(machine=machine.described())
    for run in rounds.measure(names, sizes, options.rounds):
        _say(run)
        found.runs.append(run)
        write(SO_FAR, found)
    if not options.skip_shows:
        _show(found, names, max(sizes))
    return found


def _show(found: Results, names: Sequence[str], size: int) -> None:
    """Add the special measurements."""
    methods = special.methods(names)
    found.starts = special.starts()
    for method in methods:
        pairs = special.pairs(method, size)
        _say(pairs)
        found.pairs += [pairs] if pairs else []
    for loaded in special.files(methods, size):
        _say(loaded)
        found.files.append(loaded)


def _say(what: object) -> None:
    print(f"bench: {what}", flush=True)


def _path(options: argparse.Namespace) -> Path:
    """Return the file of figures: that of the page for a complete run."""
    complete = (options.guest and options.kernel == host.KERNEL) or _is_all(options)
    return documents.JSON if complete or options.publish else host.HOME / "benchmarks.json"


def _is_all(options: argparse.Namespace) -> bool:
    names, sizes = set(host.chosen(options.only)), set(map(int, host.chosen(options.sizes)))
    here = not (options.guest or options.skip_shows)
    return here and (names, sizes) == (set(BY_NAME), set(SIZES))


def _write(path: Path, results: Results) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, results)
    results = read(path)  # with the digits that are kept
    documents.write(results, path)
    print(tables(results))
    print(f"bench: wrote {path.relative_to(REPOSITORY)}, and the page and plots beside it")


def main() -> int:
    """Run it all, or a part."""
    options = host.parser("benchmarks.scale", __doc__)
    options.add_argument("--sizes", default=",".join(map(str, SIZES)), metavar="N,N")
    options.add_argument("--only", default=",".join(BY_NAME), metavar="NAME,NAME")
    options.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    options.add_argument("--skip-shows", action="store_true", help="only the tables of sizes")
    options.add_argument("--publish", action="store_true", help="a part becomes the page too")
    options.add_argument("--guest", action="store_true", help="only what needs IPVS, in a guest")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    return host.main(_run, options.parse_args())


if __name__ == "__main__":
    sys.exit(main())
