"""Debian kernels to boot guests with: downloaded and unpacked into a cache, never installed."""

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# The generic packages: the cloud kernels lack 9p, by which a guest sees the host's files.
METAPACKAGES = {"6.1": "linux-image-amd64", "6.12": "linux-image-6.12-amd64"}


class KernelError(Exception):
    """A kernel could not be had."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel; `modules` is the directory that holds `lib/modules`."""

    release: str
    vmlinuz: Path
    modules: Path


def kernel(series: str) -> Kernel:
    """Return the newest kernel of `series` that the cache has, downloading one if it has none."""
    if series not in METAPACKAGES:
        raise KernelError(f"no kernel series {series!r}: choose from {', '.join(METAPACKAGES)}")
    home = _cache() / series
    with _locked(home.parent / f"{series}.lock"):
        if not home.exists():
            _install(series, home)
    return _unpacked(home)


def _cache() -> Path:
    root = Path(os.environ.get("VIPCTL_CACHE") or Path.home() / ".cache" / "vipctl")
    cache = root.resolve() / "kernels"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(series: str, home: Path) -> None:
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".unpack-") as scratch:
        print(f"kernel {series}: downloading, about 100 MB", flush=True)
        package = _download_current(series, Path(scratch))
        tree = Path(scratch) / "tree"
        _call(["dpkg-deb", "-x", str(package), str(tree)])
        _call(["depmod", "--basedir", str(tree), _unpacked(tree).release])
        tree.rename(home)
    print(f"kernel {series}: {_unpacked(home).release} unpacked in {home}", flush=True)


def _download_current(series: str, directory: Path) -> Path:
    """Download; a missing or outdated package list is refreshed once."""
    try:
        return _download(series, directory)
    except KernelError:
        _call(["apt-get", "-q", "update"])
        return _download(series, directory)


def _download(series: str, directory: Path) -> Path:
    package = _concrete_package(series)
    _call(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package], cwd=directory)
    return next(directory.glob(f"{package}_*.deb"))


def _concrete_package(series: str) -> str:
    meta = METAPACKAGES[series]
    for line in _call(["apt-cache", "depends", meta]).splitlines():
        word, _, package = line.strip().partition(": ")
        if word == "Depends" and package.startswith(f"linux-image-{series}."):
            return package
    raise KernelError(f"{meta} does not lead to a {series} kernel on this release of Debian")


def _unpacked(tree: Path) -> Kernel:
    vmlinuz = next((tree / "boot").glob("vmlinuz-*"))
    return Kernel(vmlinuz.name.removeprefix("vmlinuz-"), vmlinuz, tree)


def _call(argv: list[str], cwd: Path | None = None) -> str:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KernelError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
