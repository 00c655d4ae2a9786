"""Debian packages of releases that are named here, whatever release of Debian this machine is.

The list of sources and apt's state are of our own, in the cache: nothing of this machine's is read
but where its Debian packages come from, and nothing is changed.
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

RELEASE = "bookworm"  # has kernels of both series, and headers that build on later releases too
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SOURCE = "deb [signed-by={keyring}] {uri} {suite} main\n"
CACHE_VARIABLE = "VIPCTL_CACHE"
FETCHED = "$(COMPONENT) $(REPO_URI)"  # known without lists too
# The last part of an address, and whether it has the suites of security updates.
ARCHIVES = {"debian": False, "debian-security": True}
PATIENCE = 600.0  # seconds for one call of apt


class KernelError(Exception):
    """A kernel, or what belongs to it, could not be had. The message says what to do."""


def cache_directory() -> Path:
    """Return the directory of everything that is downloaded."""
    root = Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "vipctl")
    home = root.resolve() / "kernels"
    home.mkdir(parents=True, exist_ok=True)
    return home


def call(argv: list[str], cwd: Path | None = None, patience: float | None = None) -> str:
    """Return what a command prints; raise what it says if it fails, or takes too many seconds."""
    try:
        done = subprocess.run(
            argv, cwd=cwd, capture_output=True, text=True, check=False, timeout=patience
        )
    except subprocess.TimeoutExpired as error:
        raise KernelError(f"not ended after {patience:.0f} s: {' '.join(argv)}") from error
    if done.returncode:
        raise KernelError(done.stderr.strip() or done.stdout.strip() or " ".join(argv))
    return done.stdout


@dataclass(frozen=True, slots=True)
class Archive:
    """Debian's archive, as apt sees it with some suites; its state is a directory of the cache."""

    name: str
    suites: tuple[str, ...]

    def update(self) -> None:
        """Download the lists of packages. Raises KernelError."""
        try:
            self._apt("apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update")
        except KernelError as error:
            raise KernelError(
                f"Debian's archive cannot be reached, and the cache lacks this kernel. apt says:\n"
                f"{error}\n"
                "Look at the network (`apt-get update` has to work), then repeat the command"
            ) from error

    def download(self, names: list[str], directory: Path) -> list[Path]:
        """Return the files of packages, newly downloaded. Raises KernelError."""
        directory.mkdir()
        self._apt(
            "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *names, cwd=directory
        )
        return sorted(directory.glob("*.deb"))

    def dependencies(self, package: str) -> list[str]:
        """Return the names of what a package depends on; nothing if there is no such package."""
        try:
            lines = self._apt("apt-cache", "depends", package).splitlines()
        except KernelError:
            return []
        pairs = (line.strip().partition(": ") for line in lines)
        return [name for word, _, name in pairs if word == "Depends"]

    def has(self, package: str) -> bool:
        """Tell whether a package can be downloaded."""
        return bool(self._apt("apt-cache", "madison", package))

    def names(self, start: str) -> list[str]:
        """Return the names of all packages that start so."""
        return self._apt("apt-cache", "pkgnames", start).split()

    def sources(self) -> list[str]:
        """Return the lines of apt's list of sources: where this machine's packages come from."""
        return sorted(set(_sources(self.suites)))

    def _apt(self, tool: str, *words: str, cwd: Path | None = None) -> str:
        return call([tool, *_own_state(self), *words], cwd, PATIENCE)


GUESTS = Archive("apt", (RELEASE, f"{RELEASE}-security"))
EVERY = Archive(
    "apt-every",
    (
        "bookworm",
        "bookworm-security",
        "bookworm-backports",
        "trixie",
        "trixie-security",
        "trixie-backports",
        "sid",
    ),
)


@cache
def _own_state(archive: Archive) -> tuple[str, ...]:
    """Options for apt: its sources, lists and state, apart from this machine's."""
    home = cache_directory() / archive.name
    for directory in ("lists/partial", "archives/partial"):
        (home / directory).mkdir(parents=True, exist_ok=True)
    (home / "status").touch()
    sources = archive.sources()
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
        "Dir::Cache::pkgcache": "pkgcache.bin",  # off in containers; without it each call is slow
        "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
    }
    options = [f"{name}={home / place}" for name, place in places.items()]
    options += ["Dir::Etc::SourceParts=-", "Acquire::Languages=none"]
    return tuple(word for option in options for word in ("-o", option))


def _sources(suites: tuple[str, ...]) -> Iterator[str]:
    """Where this machine's Debian packages come from, with other suites."""
    targets = call(["apt-get", "indextargets", "--format", FETCHED, "Created-By: Packages"])
    for component, uri in map(str.split, targets.splitlines()):
        pocket = ARCHIVES.get(uri.rstrip("/").rpartition("/")[2])
        for suite in suites:
            if component == "main" and suite.endswith("-security") is pocket:
                yield SOURCE.format(keyring=KEYRING, uri=uri, suite=suite)
