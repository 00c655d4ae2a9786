"""DKMS itself builds, installs and removes the module; of this machine it sees nothing."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.archive import call
from tests.harness.kernels import Kernel, headers, kernel
from tests.harness.module import MODULE, NAME, REPOSITORY, SOURCES, copy_sources
from tests.kernel.matrix.page import read

SERIES = "6.12"  # tests/kernel/test_build.py builds for all


@dataclass(frozen=True, slots=True)
class Director:
    """What DKMS knows of a machine: a root directory with a kernel, and its headers."""

    root: Path
    system: Kernel
    kdir: Path

    @property
    def modules(self) -> Path:
        """Where its kernel's modules are."""
        return self.root / "lib" / "modules"

    def dkms(self, action: str, *words: str) -> str:
        """Run DKMS, which has nothing to do with this machine's directories then."""
        places = {
            "dkmstree": self.root / "var" / "lib" / "dkms",
            "sourcetree": self.root / "usr" / "src",
            "installtree": self.modules,
            "kernelsourcedir": self.kdir,
        }
        options = [word for name, place in places.items() for word in (f"--{name}", str(place))]
        return call(["dkms", action, *words, "--no-depmod", *options])

    def status(self) -> str:
        """Return what DKMS says about the module, such as `built`; nothing if it has none."""
        return self.dkms("status", NAME).rpartition(": ")[2].strip()

    def loading(self) -> Sequence[str]:
        """Return the files that modprobe would load for the module, in order."""
        release = self.system.release
        call(["depmod", "--basedir", str(self.root), release])
        show = ["modprobe", "--dirname", str(self.root), "-S", release, "--show-depends", NAME]
        lines = call(show).splitlines()
        return [Path(line.split()[1]).name for line in lines if line.startswith("insmod")]


@pytest.fixture
def director(tmp_path: Path, unsigned: None) -> Director:
    """Give a machine with a kernel, whose modules are the cache's."""
    system = kernel(SERIES)
    director = Director(tmp_path, system, headers(SERIES))
    for directory in ("var/lib/dkms", "usr/src", f"lib/modules/{system.release}"):
        (tmp_path / directory).mkdir(parents=True)
    for part in (system.modules / "lib" / "modules" / system.release).iterdir():
        (director.modules / system.release / part.name).symlink_to(part)
    return director


@pytest.fixture
def unsigned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep DKMS from making a key in /var/lib/dkms, where this machine can sign modules."""
    monkeypatch.setenv("sign_file", "/nonexistent")


@pytest.fixture
def module(director: Director) -> str:
    """Give DKMS the sources; return how it calls the module, whose version is vipctl's."""
    copy_sources(director.root / "clone")
    director.dkms("add", str(director.root / "clone"))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return f"{NAME}/{project['version']}"


RELEASES = {
    "5.15.0-30-amd64": False,
    "6.0.12-amd64": False,
    "6.1.0-56-amd64": True,
    "6.12.117+deb12-amd64": True,
    "6.18.44": True,
    "7.0.3-amd64": True,
    "7.2.12+deb13-amd64": True,
    "7.3.4+deb13-amd64": True,
    "7.4.1-amd64": False,
}


def wanted() -> re.Pattern[str]:
    """Return what DKMS compares a kernel's release with."""
    said = (SOURCES / "dkms.conf").read_text()
    (kernels,) = re.findall(r'^BUILD_EXCLUSIVE_KERNEL="(.*)"$', said, re.MULTILINE)
    return re.compile(kernels)


@pytest.mark.parametrize("release", RELEASES)
def test_it_is_built_for_kernels_that_it_compiles_for(release: str) -> None:
    """DKMS leaves the others alone, instead of failing at each of their updates."""
    assert bool(wanted().search(release)) is RELEASES[release]


def test_it_is_built_for_all_that_docs_kernels_says_it_compiles_for() -> None:
    compiled = {row.release for row in read() if not row.problem}
    assert compiled
    assert compiled == {release for release in compiled if wanted().search(release)}


def test_it_comes_and_goes(director: Director, module: str) -> None:
    kernel_words = ("-k", director.system.release)
    assert director.status() == "added"
    director.dkms("build", module, *kernel_words)
    assert director.status() == "built"
    director.dkms("install", module, *kernel_words)
    assert director.status() == "installed"
    *needed, last = director.loading()
    assert needed
    assert last.startswith(MODULE)  # compressed, where the kernel's own are
    director.dkms("remove", module, "--all")
    assert director.status() == ""
    assert not list(director.modules.rglob(f"{MODULE}*"))


@pytest.mark.usefixtures("module")
def test_a_new_kernel_gets_it(director: Director) -> None:
    director.dkms("autoinstall", "-k", director.system.release)
    assert director.status() == "installed"
