"""Which kernels there are: the newest of each series, for each release of Debian."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from tests.harness.archive import EVERY
from tests.harness.buildroot import debian_of

IMAGE = re.compile(r"linux-image-(?P<release>\d+\.\d+\.\d+(-\d+|\+deb[\d.]+)-amd64)")
NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kernel, and whether modules can be built for it."""

    release: str
    has_headers: bool

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return what kernels are ordered by."""
        return tuple(map(int, NUMBER.findall(self.release.removesuffix("-amd64"))))

    @property
    def series(self) -> str:
        """Return such as 6.12."""
        return ".".join(map(str, self.numbers[:2]))

    @property
    def debian(self) -> str:
        """Return the release of Debian that it was built for."""
        return debian_of(self.release)


def candidates() -> list[Candidate]:
    """Return what Debian's archive has today. Raises KernelError."""
    print("kernels: asking Debian's archive, about 30 MB", flush=True)
    EVERY.update()
    return choose(EVERY.names("linux-image-"), EVERY.names("linux-headers-"))


def choose(images: Iterable[str], headers: Iterable[str]) -> list[Candidate]:
    """Return the newest kernels that have headers; of a series that has none, the newest."""
    buildable = {name.removeprefix("linux-headers-") for name in headers}
    releases = (found["release"] for found in map(IMAGE.fullmatch, images) if found)
    known = [Candidate(release, release in buildable) for release in releases]
    return sorted(_newest(known), key=lambda one: one.numbers)


def _newest(known: list[Candidate]) -> Iterator[Candidate]:
    known.sort(key=_kind)
    for _, same in groupby(known, _kind):
        yield max(same, key=lambda one: (one.has_headers, one.numbers))


def _kind(candidate: Candidate) -> tuple[str, str]:
    return candidate.series, candidate.debian
