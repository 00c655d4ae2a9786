"""The module builds for every kernel without a word from compiler, modpost, sparse, checkpatch."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.archive import KernelError
from tests.harness.checkpatch import checkpatch
from tests.harness.kernels import METAPACKAGES, header_packages, headers, kernel
from tests.harness.module import (
    MODULE,
    REPOSITORY,
    SOURCES,
    ModuleError,
    complaints,
    copy_sources,
    make,
    sources,
)

FLAWS = """
int vip_flaw(void);
__be32 vip_no_prototype(u32 word)
{
	return word + vip_flaw();
}
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Give the sources to build in, so that the repository's stay clean."""
    copy_sources(tmp_path / "kernel")
    return tmp_path / "kernel"


@pytest.mark.parametrize("series", METAPACKAGES)
def test_it_builds_in_silence_installs_and_cleans(copy: Path, tmp_path: Path, series: str) -> None:
    """Compiler, modpost and sparse say nothing, git shows nothing, and `clean` leaves nothing."""
    before, kdir = set(files_below(copy)), headers(series)
    output = make(copy, kdir, "W=1", "C=2")
    assert "CHECK" in output
    assert complaints(output) == []
    assert not shown_by_git(set(files_below(copy)) - before)
    make(copy, kdir, "modules_install", f"INSTALL_MOD_PATH={tmp_path}")
    installed = tmp_path / "lib" / "modules" / kernel(series).release
    assert len(list(installed.rglob(f"{MODULE}*"))) == 1  # some kernels want it compressed
    assert MODULE in (installed / "modules.dep").read_text(), "modprobe finds it"
    make(copy, kdir, "clean")
    assert set(files_below(copy)) == before


def test_their_complaints_are_seen(copy: Path) -> None:
    """Otherwise their silence would mean nothing."""
    with (copy / "main.c").open("a") as main:
        main.write(FLAWS)
    with pytest.raises(ModuleError) as failure:
        make(copy, headers("6.1"), "W=1", "C=2")
    seen = "\n".join(complaints(str(failure.value)))
    for word in ("no previous prototype", "different base types", "modpost"):
        assert word in seen


def test_checkpatch_is_silent(tmp_path: Path) -> None:
    """What programs include is shown to it where a kernel has such headers."""
    for name in ("kernel", "include"):
        (tmp_path / name).symlink_to(SOURCES)
    places = [path.relative_to(SOURCES) for path in sources()]
    names = [str(("include" if "uapi" in place.parts else "kernel") / place) for place in places]
    assert checkpatch(tmp_path, *names) == ""


def test_complaints_of_checkpatch_are_seen(tmp_path: Path) -> None:
    (tmp_path / "flaw.c").write_text("int flaw( void ) { return(0); }\n")
    assert "SPDX_LICENSE_TAG" in checkpatch(tmp_path, "flaw.c")


def files_below(directory: Path) -> Iterator[str]:
    """Yield the files of a directory, relative to it."""
    for path in directory.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(directory))


def shown_by_git(files: set[str]) -> set[str]:
    """Return those of files in kernel/ that .gitignore does not cover."""
    paths = [f"kernel/{name}" for name in files]
    argv = ["git", "check-ignore", "--no-index", *paths]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(paths) - set(done.stdout.splitlines())


def test_missing_headers_are_named(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ModuleError, match=r"apt install linux-headers-"):
        make(copy, tmp_path / "none")


def test_headers_that_debian_has_dropped_are_explained(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=rf"{tmp_path}\. Remove that directory"):
        header_packages("6.1.0-0-amd64", tmp_path)
