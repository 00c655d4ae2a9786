"""The kernel module: built on this machine for the kernels of guests, loaded in a guest.

A guest sees what was built before it was booted.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from tests.harness.archive import EVERY, KernelError
from tests.harness.buildroot import inside
from tests.harness.debugkernel import build_tree, debug_kernel
from tests.harness.kernels import (
    METAPACKAGES,
    Kernel,
    headers,
    headers_of,
    kernel,
    kernel_of,
    locked,
)

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = REPOSITORY / "kernel"
NAME = "vip_shim"
MODULE = f"{NAME}.ko"
OTHER_SOURCES = ("Kbuild", "Makefile", "dkms.conf")
HOME = REPOSITORY / "build" / "module"
DEBUG_KERNEL = "debug"  # what a command line calls the kernel of make debug-kernel
DEBUG = "-debug"  # the variant that tests itself when it is loaded
BUILT_FROM = "built-from"  # beside the module: a digest of what it was built from
SAID = "said"  # there too: what its build printed
CHECKS = ("W=1", "C=2")  # the compiler's warnings that make has off, and sparse
COMPLAINT = re.compile(r"(warning|error):|\.[ch]:\d+:", re.IGNORECASE)


class ModuleError(KernelError):
    """The module cannot be built, loaded or unloaded."""


def prepared(name: str) -> Kernel:
    """Return a kernel, with the module built for it: of a series, "debug", or a release."""
    if name in METAPACKAGES:
        built(name)
        return kernel(name)
    if name != DEBUG_KERNEL:
        built_for(name)
        return kernel_of(name, EVERY)
    found = debug_kernel()
    for variant in ("", DEBUG):
        built_in(found.release, build_tree(), variant)
    return found


def built(series: str) -> Path:
    """Return the module for the cached kernel of `series`, building it if it is not up to date.

    The one with its selftest is built beside it.
    """
    release, kdir = kernel(series).release, headers(series)
    built_in(release, kdir, DEBUG)
    return built_in(release, kdir)


def built_for(release: str) -> Path:
    """Likewise, for any kernel that Debian has headers of, by the tools that it goes with."""
    kdir = headers_of(release, EVERY)
    there = inside(release, HOME)
    built_in(release, kdir, DEBUG, there, CHECKS)
    return built_in(release, kdir, "", there, CHECKS)


def built_in(
    release: str,
    kdir: Path,
    variant: str = "",
    there: Sequence[str] = (),
    words: Sequence[str] = (),
) -> Path:
    """Return the module for a kernel with the build directory `kdir`; `variant`: "" or DEBUG.

    `there` is the start of a command line that enters another root.
    """
    HOME.mkdir(parents=True, exist_ok=True)
    home, digest = HOME / (release + variant), _digest(kdir)
    with locked(HOME / f"{home.name}.lock"):
        if not _is_current(home, digest):
            print(f"module: building for {home.name}", flush=True)
            _build(home, kdir, f"DEBUG={int(variant == DEBUG)}", *words, there=there)
            (home / BUILT_FROM).write_text(digest)
    return home / MODULE


def _is_current(home: Path, digest: str) -> bool:
    stamp = home / BUILT_FROM
    return (home / MODULE).exists() and stamp.exists() and stamp.read_text() == digest


def _digest(kdir: Path) -> str:
    """Return a digest of the sources and of what they are built against."""
    digest = sha256(str(kdir).encode())
    for path in (*sources(), kdir / ".config", kdir / "Module.symvers"):
        digest.update(f"\0{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def sources() -> list[Path]:
    """Return the files that the module is built from, without what an earlier `make` left."""
    return sorted(_sources())


def _sources() -> Iterator[Path]:
    for path in SOURCES.rglob("*"):
        generated = path.name.startswith(".") or path.name.endswith(".mod.c")
        if not generated and (path.suffix in {".c", ".h"} or path.name in OTHER_SOURCES):
            yield path


def copy_sources(to: Path) -> None:
    """Put the sources, and nothing else, into a new directory."""
    for path in sources():
        copy = to / path.relative_to(SOURCES)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)


def make(where: Path, kdir: Path, *words: str, there: Sequence[str] = ()) -> str:
    """Run the module's Makefile in `where`; return all that it prints."""
    argv = [*there, "make", "-C", str(where), f"KDIR={kdir}", f"-j{os.cpu_count()}", *words]
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise ModuleError(f"{' '.join(argv)}:\n{done.stdout}")
    return done.stdout


def complaints(output: str) -> list[str]:
    """Return the lines in which a tool complains; an error is a complaint, too."""
    return [line for line in output.splitlines() if COMPLAINT.search(line)]


def _build(home: Path, kdir: Path, *words: str, there: Sequence[str] = ()) -> None:
    """Build in a new copy, so that nothing is left of an older one."""
    shutil.rmtree(home, ignore_errors=True)
    copy_sources(home)
    (home / SAID).write_text(make(home, kdir, *words, there=there))


def load(variant: str = "", *parameters: str) -> None:
    """Load the module that was built for the running kernel, and before it what it needs."""
    module = HOME / (os.uname().release + variant) / MODULE
    if not module.exists():
        raise ModuleError(f"{module} is missing: it has to be built before the guest is booted")
    needed = _call("modinfo", "--field", "depends", str(module)).strip()
    if needed:
        _call("modprobe", "--all", *needed.split(","))
    _call("insmod", str(module), *parameters)


def unload() -> None:
    """Unload the module; it is an error if something uses it."""
    _call("rmmod", NAME)


@contextmanager
def loaded() -> Iterator[None]:
    """Have the module loaded."""
    load()
    try:
        yield
    finally:
        unload()


def _call(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ModuleError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def main() -> int:
    """Build the module for the kernels that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.module", description=__doc__)
    parser.add_argument("series", nargs="*", default=list(METAPACKAGES), help="6.1, 6.12")
    try:
        for series in parser.parse_args().series:
            print(built(series))
    except KernelError as error:
        print(f"module: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
