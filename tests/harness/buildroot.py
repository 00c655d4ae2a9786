"""Minimal roots of Debian's releases, with what builds modules for the kernels of each.

A newer kernel's own tools do not run on an older release, and a module is best built by the
compiler that its kernel was built with. The roots are in the cache; nothing is installed here.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.harness.archive import EVERY, KernelError, cache_directory, call
from tests.harness.kernels import locked, scratch

TAG = re.compile(r"\+(deb\d+)")
DEBIAN = {"deb12": "bookworm", "deb13": "trixie", "deb14": "sid"}  # what a kernel's name ends with
UNTAGGED = "bookworm"
PACKAGES = ("make", "sparse")
COMPILERS = ("gcc-", "linux-compiler-")
KBUILD = "linux-kbuild-"

# What is mounted is mounted there alone, and nothing runs on.
UNSHARE = ("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child")
# In there: $1 is the root, the words before "--" are seen there, too.
ENTER = """
set -e
root=$1
shift
while [ "$1" != -- ]; do
    mkdir -p "$root$1"
    mount --bind "$1" "$root$1"
    shift
done
shift
mount -t proc proc "$root/proc"
exec chroot "$root" "$@"
"""


def debian_of(release: str) -> str:
    """Return the release of Debian that a kernel was built for.

    >>> debian_of("7.2.13+deb14-amd64"), debian_of("6.1.0-56-amd64")
    ('sid', 'bookworm')
    """
    tag = TAG.search(release)
    return DEBIAN[tag[1]] if tag else UNTAGGED


def inside(release: str, *seen: Path) -> list[str]:
    """Return the start of a command line that enters the root that builds for a kernel.

    The cache and the directories `seen` are there, too, under the same names.
    """
    root = _root(debian_of(release), _packages(release))
    seen_there = [str(cache_directory()), *map(str, seen)]
    return [*UNSHARE, "sh", "-c", ENTER, "enter", str(root), *seen_there, "--"]


def _packages(release: str) -> list[str]:
    """Return what builds a module: a compiler, and what the kernel's tools are linked to."""
    needed = _dependencies(f"linux-headers-{release}")
    tools = [name for name in needed if name.startswith(KBUILD)]
    compilers = [name for name in needed if name.startswith(COMPILERS)]
    linked = [other for name in tools for other in EVERY.dependencies(name)]
    return sorted({*PACKAGES, *compilers, *linked})


def _dependencies(package: str) -> list[str]:
    if found := EVERY.dependencies(package):
        return found
    EVERY.update()
    if found := EVERY.dependencies(package):
        return found
    raise KernelError(f"Debian's archive has no {package} (any more)")


def _root(debian: str, packages: list[str]) -> Path:
    """Return a root that has the packages, and those that were asked of it before."""
    home = cache_directory() / f"root-{debian}"
    listed = home.with_suffix(".packages")
    with locked(home.with_suffix(".lock")):
        known = listed.read_text().split() if listed.exists() and home.exists() else []
        if not known or set(packages) - set(known):
            wanted = sorted({*known, *packages})
            _make(debian, wanted, home)
            listed.write_text("\n".join(wanted))
    return home


def bootstrap(debian: str, packages: Sequence[str], tree: Path, *sources: str) -> None:
    """Make a minimal root.

    What is mounted in it on the way is mounted for mmdebstrap alone: whoever removes a tree that
    was not finished would remove what is in /dev otherwise. None of its processes outlives it.
    """
    if not shutil.which("mmdebstrap"):
        raise KernelError("no root of another release without: apt install mmdebstrap")
    # Where this machine takes an old copy of the archive, the root does, too.
    allowed = call(["apt-config", "dump", "Acquire::Check-Valid-Until"]).splitlines()
    options = [f"--include={','.join(packages)}", *(f"--aptopt={line}" for line in allowed)]
    words = ["mmdebstrap", "--quiet", "--variant=minbase", *options, debian, str(tree), *sources]
    call([*UNSHARE, "--mount-proc", *words])


def _make(debian: str, packages: list[str], home: Path) -> None:
    print(f"root of {debian}: installing {' '.join(packages)}", flush=True)
    suites = (f" {debian} ", f" {debian}-security ")
    sources = [line.strip() for line in EVERY.sources() if any(suite in line for suite in suites)]
    with scratch(home.parent) as tree:
        bootstrap(debian, packages, tree, *sources)
        shutil.rmtree(home, ignore_errors=True)
        tree.rename(home)
