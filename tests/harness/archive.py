"""Debian packages of the release that guests boot, whatever release of Debian this machine is.

The list of sources and apt's state are of our own, in the cache: nothing of this machine's is read
but where its Debian packages come from, and nothing is changed.
"""

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

RELEASE = "bookworm"  # has kernels of both series, and headers that build on later releases too
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SOURCE = "deb [signed-by={keyring}] {uri} {suite} main\n"
LEFT_OUT = ("-updates", "-backports")
CACHE_VARIABLE = "VIPCTL_CACHE"
FETCHED = "$(RELEASE) $(COMPONENT) $(REPO_URI)"  # known without lists too
ARCHIVES = {"debian": "", "debian-security": "-security"}  # by the last part of the address


class KernelError(Exception):
    """A kernel, or what belongs to it, could not be had. The message says what to do."""


def cache_directory() -> Path:
    """Return the directory of everything that is downloaded."""
    root = Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "vipctl")
    home = root.resolve() / "kernels"
    home.mkdir(parents=True, exist_ok=True)
    return home


def update() -> None:
    """Download the lists of packages. Raises KernelError."""
    try:
        _apt("apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update")
    except KernelError as error:
        raise KernelError(
            f"Debian's archive cannot be reached, and the cache lacks this kernel. apt says:\n"
            f"{error}\n"
            "Look at the network (`apt-get update` has to work), then repeat the command"
        ) from error


def download(names: list[str], directory: Path) -> list[Path]:
    """Return the files of packages, newly downloaded. Raises KernelError."""
    directory.mkdir()
    _apt("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *names, cwd=directory)
    return sorted(directory.glob("*.deb"))


def dependencies(package: str) -> list[str]:
    """Return the names of what a package depends on; nothing if there is no such package."""
    try:
        lines = _apt("apt-cache", "depends", package).splitlines()
    except KernelError:
        return []
    pairs = (line.strip().partition(": ") for line in lines)
    return [name for word, _, name in pairs if word == "Depends"]


def has(package: str) -> bool:
    """Tell whether a package can be downloaded."""
    return bool(_apt("apt-cache", "madison", package))


def _apt(tool: str, *words: str, cwd: Path | None = None) -> str:
    return call([tool, *_own_state(), *words], cwd)


def call(argv: list[str], cwd: Path | None = None) -> str:
    """Return what a command prints; raise what it says if it fails."""
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KernelError(done.stderr.strip() or done.stdout.strip() or " ".join(argv))
    return done.stdout


@cache
def _own_state() -> tuple[str, ...]:
    """Options for apt: its sources, lists and state, apart from this machine's."""
    home = cache_directory() / "apt"
    for directory in ("lists/partial", "archives/partial"):
        (home / directory).mkdir(parents=True, exist_ok=True)
    (home / "status").touch()
    sources = sorted(set(_sources()))
    if not sources:
        raise KernelError(
            "apt knows no archive of Debian on this machine: /etc/apt/sources.list has to name one "
            "that ends in /debian, as on a new Debian 12 or 13"
        )
    (home / "sources.list").write_text("".join(sources))
    places = {
        "Dir::Etc::SourceList": "sources.list",
        "Dir::State::Lists": "lists",
        "Dir::State::Status": "status",
        "Dir::Cache": "",
        "Dir::Cache::Archives": "archives",
    }
    options = [f"{name}={home / place}" for name, place in places.items()]
    options += ["Dir::Etc::SourceParts=-", "Acquire::Languages=none"]
    return tuple(word for option in options for word in ("-o", option))


def _sources() -> Iterator[str]:
    """Where this machine's Debian packages come from, with the release that guests boot."""
    targets = call(["apt-get", "indextargets", "--format", FETCHED, "Created-By: Packages"])
    for suite, component, uri in map(str.split, targets.splitlines()):
        pocket = ARCHIVES.get(uri.rstrip("/").rpartition("/")[2])
        if component == "main" and pocket is not None and not suite.endswith(LEFT_OUT):
            yield SOURCE.format(keyring=KEYRING, uri=uri, suite=RELEASE + pocket)
