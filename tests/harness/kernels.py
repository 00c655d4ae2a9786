"""Debian kernels to boot guests with, and their headers to build modules with.

Both are downloaded and unpacked into a cache, never installed.
"""

import errno
import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness.archive import (
    CACHE_VARIABLE,
    GUESTS,
    RELEASE,
    Archive,
    KernelError,
    cache_directory,
    call,
)

# The generic packages: the cloud kernels lack 9p, by which a guest sees the host's files.
METAPACKAGES = {"6.1": "linux-image-amd64", "6.12": "linux-image-6.12-amd64"}
# Of what the headers depend on, what a module is built with; the rest has to do with installing.
BUILT_WITH = ("linux-headers-", "linux-kbuild-")
HEADERS = "headers"
ROOM = 800 << 20  # bytes that a kernel and its headers take while they are unpacked


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel; `modules` is the directory that holds `lib/modules`.

    `options` are what its command line needs.
    """

    release: str
    vmlinuz: Path
    modules: Path
    options: str = ""


def kernel(series: str) -> Kernel:
    """Return the newest kernel of `series` that the cache has, downloading one if it has none."""
    if series not in METAPACKAGES:
        raise KernelError(f"no kernel series {series!r}: choose from {', '.join(METAPACKAGES)}")
    with _kept(series) as home:
        if not home.exists():
            _install(series, lambda: [_concrete_package(series)], home, GUESTS)
    return unpacked(home)


def headers(series: str) -> Path:
    """Return the directory to build modules in for the kernel of `series` that the cache has."""
    return _headers(series, kernel(series).release, GUESTS)


def kernel_of(release: str, archive: Archive) -> Kernel:
    """Return exactly this kernel, which is one of the archive's if the cache lacks it."""
    with _kept(_place(release)) as home:
        if not home.exists():
            _install(release, lambda: image_packages(release, archive), home, archive)
    return unpacked(home)


def headers_of(release: str, archive: Archive) -> Path:
    """Return the directory to build modules in for exactly this kernel."""
    kernel_of(release, archive)
    return _headers(_place(release), release, archive)


def _place(release: str) -> str:
    """Return the name of a kernel's directory in the cache: a series, if it is what guests boot."""
    cached = ((name, cache_directory() / name) for name in METAPACKAGES)
    held = (name for name, home in cached if home.exists() and unpacked(home).release == release)
    return next(held, release)


def _headers(name: str, release: str, archive: Archive) -> Path:
    """Headers lie within their kernel's directory, so that the two come and go together."""
    with _kept(name) as home:
        if not (home / HEADERS).exists():
            _install_headers(release, home, archive)
    return _build_directory(home / HEADERS, release)


@contextmanager
def _kept(name: str) -> Iterator[Path]:
    """Yield the directory of a kernel in the cache, for nobody else to change meanwhile."""
    home = cache_directory() / name
    with locked(home.parent / f"{name}.lock"):
        yield home


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that other processes heed, too."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(name: str, packages: Callable[[], list[str]], home: Path, archive: Archive) -> None:
    with scratch(home.parent) as tree:
        print(f"kernel {name}: downloading, about 100 MB", flush=True)
        unpack(packages, tree, archive)
        _arrange(tree)
        call(["depmod", "--basedir", str(tree), unpacked(tree).release])
        tree.rename(home)
    print(f"kernel {name}: {unpacked(home).release} unpacked in {home}", flush=True)


def _arrange(tree: Path) -> None:
    """Have a kernel that is below usr/lib/modules where others are, too: in lib and boot."""
    if not (tree / "lib").exists():
        (tree / "lib").symlink_to("usr/lib")
    for vmlinuz in tree.glob("usr/lib/modules/*/vmlinuz"):
        (tree / "boot").mkdir(exist_ok=True)
        target = Path("..") / vmlinuz.relative_to(tree)
        (tree / "boot" / f"vmlinuz-{vmlinuz.parent.name}").symlink_to(target)


def _install_headers(release: str, home: Path, archive: Archive) -> None:
    with scratch(home.parent) as tree:
        print(f"headers of {release}: downloading, about 15 MB", flush=True)
        unpack(lambda: header_packages(release, home, archive), tree, archive)
        _make_relocatable(_build_directory(tree, release) / "Makefile")
        tree.rename(home / HEADERS)
    print(f"headers of {release}: unpacked in {home / HEADERS}", flush=True)


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """Yield a place for a tree, to be moved away when it is complete. Raises KernelError."""
    free = shutil.disk_usage(parent).free
    if free < ROOM:
        raise KernelError(_too_full(parent, free))
    try:
        with tempfile.TemporaryDirectory(dir=parent, prefix=".unpack-") as name:
            yield Path(name) / "tree"
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise KernelError(_too_full(parent, shutil.disk_usage(parent).free)) from error


def _too_full(parent: Path, free: int) -> str:
    return (
        f"{parent} has {free >> 20} MiB free, and a kernel needs {ROOM >> 20} to be unpacked. "
        f"Make room, or name another directory in the variable {CACHE_VARIABLE}"
    )


def unpack(names: Callable[[], list[str]], tree: Path, archive: Archive = GUESTS) -> None:
    """Download and unpack packages; a missing or outdated package list is refreshed once."""
    try:
        packages = archive.download(names(), tree.parent / "first")
    except KernelError:
        archive.update()
        packages = archive.download(names(), tree.parent / "second")
    for package in packages:
        call(["dpkg-deb", "-x", str(package), str(tree)])


def _concrete_package(series: str) -> str:
    meta = METAPACKAGES[series]
    for package in GUESTS.dependencies(meta):
        if package.startswith(f"linux-image-{series}."):
            return package
    raise KernelError(
        f"the archive of Debian's {RELEASE} that this machine uses has no kernel {series} "
        f"(package {meta}). Name a complete archive in /etc/apt/sources.list"
    )


def image_packages(release: str, archive: Archive) -> list[str]:
    """Return the names of what has to be unpacked to boot exactly this kernel."""
    image = f"linux-image-{release}"
    return [image, *(name for name in archive.dependencies(image) if name.endswith(f"-{release}"))]


def header_packages(release: str, home: Path, archive: Archive = GUESTS) -> list[str]:
    """Return the names of what has to be unpacked to build modules for exactly this kernel."""
    names = [f"linux-headers-{release}"]
    if not archive.has(names[0]):
        raise KernelError(
            f"Debian no longer has {names[0]}, which goes with the kernel in {home}. "
            "Remove that directory: a newer kernel is downloaded then, and its headers"
        )
    for name in names:
        found = archive.dependencies(name)
        names += [other for other in found if other.startswith(BUILT_WITH) and other not in names]
    return names


def _build_directory(tree: Path, release: str) -> Path:
    return tree / "usr" / "src" / f"linux-headers-{release}"


def _make_relocatable(makefile: Path) -> None:
    """Refer to the other files from where it is, not from where it would be installed."""
    here = "$(dir $(lastword $(MAKEFILE_LIST)))../"
    text = makefile.read_text().replace("/usr/src/", here)
    makefile.write_text(text.replace("KBUILD_OUTPUT=", "KBUILD_OUTPUT:="))


def unpacked(tree: Path) -> Kernel:
    """Return the kernel that a tree holds."""
    vmlinuz = next((tree / "boot").glob("vmlinuz-*"))
    return Kernel(vmlinuz.name.removeprefix("vmlinuz-"), vmlinuz, tree)
