"""The disk takes no more in the middle of a command: all is as it was, or what is so is said."""

import ctypes
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest

from tests.harness.command import Vipctl
from tests.harness.netns import execute
from tests.netns import iptables, owners, snapshot
from tests.netns.moments import moments
from tests.netns.zygote import Zygote, striking
from vipctl.state.store import Store

METHODS = ("fwmark", "fwmark-iptables", "route", "tproxy")
WRITING = ("pwrite64", "ftruncate", "fdatasync")
SERVICE = ("--service", "web")
COMMANDS = {
    "add-range": ("add-range", "192.0.2.0/25", "2001:db8:2::/48", *SERVICE),
    "remove-service": ("remove-service", "web"),
}
REASONS = "No space left on device", "Input/output error"
UNCERTAIN = "cannot tell whether"
MADE = "the change is made all the same"
CLONE_FS, CLONE_NEWNS = 0x200, 0x20000  # linux/sched.h

T = TypeVar("T")
Sight = tuple[object, ...]


@pytest.fixture(scope="module", params=[False, True], ids=["once", "from then on"])
def full(request: pytest.FixtureRequest) -> Iterator[Zygote]:
    """Where a call that writes fails as on a full disk."""
    with Zygote(striking(WRITING, "error=ENOSPC", lasting=request.param)) as zygote:
        yield zygote


def stored(vipctl: Vipctl, method: str) -> Path:
    """vipctl with a service; return a file that `apply` brings it back by."""
    vipctl("add-range", "203.0.113.0/24", "2001:db8:1::/64", *SERVICE, *owners.options(method))
    file = vipctl.state_dir.with_name("stored.yaml")
    file.write_text(vipctl.text("export").stdout)
    return file


def look(vipctl: Vipctl) -> Sight:
    """All that a command changes, in the state and in the kernel."""
    lines = [line.partition("initval")[0].strip() for line in iptables.ours(vipctl.host)]
    chains = [line for line in lines if not line.endswith("nomatch")]  # of lengths that went
    return vipctl("export")["services"], snapshot.unordered(vipctl.host), sorted(chains)


@pytest.mark.parametrize(
    ("method", "name"),
    [*((method, "add-range") for method in METHODS), ("fwmark", "remove-service")],
)
def test_any_write_can_fail(
    vipctl: Vipctl, tmp_path: Path, full: Zygote, method: str, name: str
) -> None:
    words = COMMANDS[name]
    file = stored(vipctl, method)
    before = look(vipctl)
    when = moments(vipctl, tmp_path / "trace", *words, calls=WRITING)
    after = look(vipctl)
    assert {call for call, _ in when} >= {"pwrite64", "fdatasync"}
    vipctl("apply", str(file))
    for moment in when:
        done = full.run(vipctl, *words, strike_at=moment)
        said = json.loads(done.stdout)["error"]["message"] if done.code else MADE
        assert done.code == 0 or any(reason in said for reason in REASONS), (moment, done)
        assert not any(words in done.stdout for words in ("backup", "perhaps", "way back"))
        left, pending = look(vipctl), vipctl("status")["pending"]
        if UNCERTAIN in said and pending:
            vipctl("add-service", "next")
            vipctl("remove-service", "next")
            left, said = look(vipctl), MADE if left[0] == after[0] else said
        assert left == (after if MADE in said else before), (moment, done)
        if pending or left != before:
            vipctl("apply", str(file))
        assert look(vipctl) == before


def with_a_small_disk(directory: Path, act: Callable[[], T]) -> T:
    """Call it in a thread that has a tmpfs of its own with what is in the directory."""
    aside = directory.with_name("aside")

    def run() -> T:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_FS | CLONE_NEWNS):
            raise OSError(ctypes.get_errno(), "unshare")
        execute(["mount", "--make-rprivate", "/"])
        shutil.copytree(directory, aside)
        execute(["mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "none", str(directory)])
        shutil.copytree(aside, directory, dirs_exist_ok=True)
        return act()

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(run).result()


def fill(directory: Path) -> None:
    with (directory / "ballast").open("wb", buffering=0) as ballast:
        for size in (4096, 1):
            try:
                while ballast.write(bytes(size)):
                    pass
            except OSError:
                continue


def before_transaction(
    monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], object]
) -> None:
    """Act once, before a command commits for the so manieth time."""
    real, counter = Store._transaction, count()

    def transaction(store: Store) -> AbstractContextManager[None]:
        if next(counter) == number:
            act()
        return real(store)

    monkeypatch.setattr(Store, "_transaction", transaction)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("step", [0, 1], ids=["begin", "finish"])
def test_a_disk_that_fills_up(
    vipctl: Vipctl, monkeypatch: pytest.MonkeyPatch, step: int, method: str, name: str
) -> None:
    """Before the kernel is touched, or behind it."""
    stored(vipctl, method)
    before = look(vipctl)

    def run() -> None:
        before_transaction(monkeypatch, step, lambda: fill(vipctl.state_dir))
        code, error = vipctl.error(*COMMANDS[name])
        assert (code, "No space left on device" in error["message"]) == (1, True)
        assert "make room there" in error["hint"]
        assert (MADE in error["message"]) is (step == 1)
        if step == 0:
            assert look(vipctl) == before
        (vipctl.state_dir / "ballast").unlink()
        assert vipctl("status")["pending"] is (step == 1)
        left = look(vipctl)
        assert (left == before) is (step == 0)
        again = vipctl(*COMMANDS[name])
        assert again["restored"] is (step == 1)
        assert step == 0 or look(vipctl) == left
        assert vipctl("status")["kernel"] == "as stored"
        vipctl("restore", "--force")

    with_a_small_disk(vipctl.state_dir, run)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("step", [0, 1], ids=["begin", "finish"])
def test_a_state_directory_that_goes_away(
    vipctl: Vipctl, monkeypatch: pytest.MonkeyPatch, step: int, method: str
) -> None:
    """What the command did is undone, as the next one would know nothing of it."""
    stored(vipctl, method)
    _, *kernel = look(vipctl)
    gone = vipctl.state_dir.with_name("gone")
    before_transaction(monkeypatch, step, lambda: vipctl.state_dir.rename(gone))
    code, error = vipctl.error(*COMMANDS["add-range"])
    assert (code, "was removed" in error["message"]) == (1, True)
    monkeypatch.undo()
    gone.rename(vipctl.state_dir)
    assert look(vipctl)[1:] == tuple(kernel)
    assert vipctl("status")["kernel"] == "as stored"
