"""What a newcomer reads where a kernel cannot be had: a sentence that says what to do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import archive, kernels
from tests.harness.netns import execute

NOBODY_LISTENS = "deb [trusted=yes] http://127.0.0.1:9/debian bookworm main\n"  # port 9: discard


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, with apt's state."""
    monkeypatch.setenv(archive.CACHE_VARIABLE, str(tmp_path / "cache"))
    archive._own_state.cache_clear()
    yield tmp_path / "cache"
    archive._own_state.cache_clear()


def _from(monkeypatch: pytest.MonkeyPatch, *sources: str) -> None:
    monkeypatch.setattr(archive, "_sources", lambda _: iter(sources))


def test_the_archive_is_out_of_reach(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _from(monkeypatch, NOBODY_LISTENS)
    with pytest.raises(archive.KernelError, match=r"cannot be reached[^$]*apt-get update") as said:
        kernels.kernel("6.1")
    assert "127.0.0.1" in str(said.value), "apt's own words are there too"


def test_the_archive_has_no_such_kernel(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "Packages").touch()
    _from(monkeypatch, f"deb [trusted=yes] file:{tmp_path}/empty ./\n")
    with pytest.raises(archive.KernelError, match=r"has no kernel 6\.12 .*sources\.list"):
        kernels.kernel("6.12")


def test_apt_knows_no_archive(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _from(monkeypatch)
    with pytest.raises(archive.KernelError, match=r"/etc/apt/sources\.list has to name one"):
        kernels.kernel("6.1")


def test_the_disk_is_full(cache: Path) -> None:
    cache.mkdir()
    execute(["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(cache)])
    try:
        with pytest.raises(archive.KernelError, match=r"1 MiB free.*Make room.*VIPCTL_CACHE"):
            kernels.kernel("6.1")
    finally:
        execute(["umount", str(cache)])


def test_this_machines_sources_lead_to_the_guests_release(cache: Path) -> None:
    sources = archive.GUESTS.sources()
    assert sources
    assert all(f" {archive.RELEASE}" in line and archive.KEYRING in line for line in sources)
    assert archive.cache_directory() == cache / "kernels"
