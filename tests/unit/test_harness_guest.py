"""An exit status that did not arrive is never a success, nor a riddle."""

import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import guest, kvm
from tests.harness.archive import KernelError
from tests.harness.guest import COMMAND_STARTS, NO_STATUS, STATUS, TIMED_OUT, Guest


@contextmanager
def _ended(tmp_path: Path, script: str, console: str = "") -> Iterator[Guest]:
    """A guest that was no more than a shell."""
    (tmp_path / "console").write_text(console)
    process = subprocess.Popen(
        ["sh", "-c", script],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        yield Guest(process, tmp_path / "console", tmp_path)


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (f"echo 0 > {STATUS}; exit 255", 0),  # vng's own does not count
        (f"echo 3 > {STATUS}", 3),
        (f"> {STATUS}", NO_STATUS),
        ("exit 0", NO_STATUS),
        ("kill -9 $$", TIMED_OUT),
    ],
)
def test_the_status_is_what_arrived(tmp_path: Path, script: str, status: int) -> None:
    with _ended(tmp_path, script) as ended:
        assert ended.follow(print, limit=20.0) == status


@pytest.mark.parametrize(
    ("console", "said"),
    [
        ("no ports\n", "before the command began. Without udev"),
        (f"{COMMAND_STARTS}\nKernel panic\n", "before the command ended"),
    ],
)
def test_the_reason_is_said(tmp_path: Path, console: str, said: str) -> None:
    lines: list[str] = []
    with _ended(tmp_path, "exit 0", console) as ended:
        assert ended.explain(ended.follow(print, limit=20.0), lines.append) == NO_STATUS
    assert said in lines[0]
    assert lines[-1].strip() == console.splitlines()[-1]


def test_what_a_boot_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(KernelError, match=r"apt install .*\bfile\b.*\budev\b"):
        guest.check_host()


def test_other_processors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(KernelError, match=r"this machine is aarch64.*modprobe ip_vs"):
        guest.check_host()


def test_kvm_is_asked_to_boot_something(tmp_path: Path) -> None:
    """By TCG, which works everywhere: a sector that ends, and one that does not."""
    disk = tmp_path / "disk"
    ending = kvm.PROGRAM.ljust(kvm.SECTOR - 2, b"\0") + kvm.SIGNATURE
    disk.write_bytes(ending)
    assert kvm.boots(disk, "tcg")
    disk.write_bytes(ending.replace(kvm.PROGRAM, b"\xeb\xfe".ljust(len(kvm.PROGRAM), b"\0")))
    assert not kvm.boots(disk, "tcg")
    assert not kvm.boots(disk, "none such")
