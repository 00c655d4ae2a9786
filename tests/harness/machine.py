"""A machine around a host of a test: its process 1, its /etc and /run, its programs.

It is there while one function runs, in a process that is forked from this one and becomes process
1 on the host. What is in `root` lies over this machine's files, those of /proc each by itself.
"""

import ctypes
import json
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.harness.netns import Namespace
from tests.harness.waiting import wait_until
from vipctl.linux import processes

CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000  # linux/sched.h
# First what may not be there: it is made in an overlay, which hides what lies further below.
OVERLAID = ("usr/lib/modules", "usr/lib/systemd/system", "usr/local/sbin", "etc", "run")
NEEDED = ("alternatives", "ld.so.cache", "passwd", "group", "nsswitch.conf", "protocols")
LINK = "-> "

_libc = ctypes.CDLL(None, use_errno=True)


class Machine:
    """Of a host. It was booted with systemd, as far as files tell."""

    def __init__(self, host: Namespace, root: Path) -> None:
        self.host, self.root = host, root
        for directory in (*OVERLAID, "run/systemd/system"):
            (root / directory).mkdir(parents=True, exist_ok=True)
        for name in NEEDED:
            _copy(Path("/etc") / name, root / "etc" / name)

    def write(self, files: Mapping[str, str | None]) -> None:
        """Make files, and links where the text is `-> TARGET`; None removes one."""
        for name, text in files.items():
            path = self.root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if text is None:
                continue
            if text.startswith(LINK):
                path.symlink_to(text.removeprefix(LINK))
            else:
                path.write_text(text)
                path.chmod(0o600)

    def run(self, act: Callable[[], Any], programs: Iterable[list[str]] = ()) -> Any:
        """Return what the function returns there, while these programs run; it must be plain."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os._exit(self._enter(write, act, programs))
        os.close(write)
        with os.fdopen(read) as result:
            text = result.read()
        _, status = os.waitpid(pid, 0)
        assert status == 0, f"the machine failed: {text}"
        return json.loads(text)

    def _enter(self, write: int, act: Callable[[], Any], programs: Iterable[list[str]]) -> int:
        self.host.__enter__()
        if _libc.unshare(CLONE_NEWNS | CLONE_NEWPID):
            return 1
        pid = os.fork()
        if pid == 0:
            try:
                os.write(write, json.dumps(self._live(act, programs)).encode())
                os._exit(0)
            except BaseException:
                os.write(write, traceback.format_exc().encode())
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _live(self, act: Callable[[], Any], programs: Iterable[list[str]]) -> Any:
        _mount("--make-rprivate", "/")
        _mount("-t", "proc", "proc", "/proc")
        for directory in OVERLAID:
            if not Path("/", directory).exists():
                self.overlay(Path("/", directory).parent)
                Path("/", directory).mkdir()
            _mount("--bind", str(self.root / directory), f"/{directory}")
        for path in filter(Path.is_file, (self.root / "proc").rglob("*")):
            _mount("--bind", str(path), f"/{path.relative_to(self.root)}")
        for argv in programs:
            subprocess.Popen(argv, stdout=sys.__stderr__)
            name = Path(argv[0]).resolve().name
            wait_until(lambda n=name: n in processes.of_this_namespace().names, f"{name} runs")  # type: ignore[misc]
        return act()

    def overlay(self, directory: Path) -> None:
        """Have a directory as one whose changes nobody else sees; from within."""
        layer = self.root / "layers" / directory.name
        layer.mkdir(parents=True, exist_ok=True)
        _mount("-t", "tmpfs", "tmpfs", str(layer))
        (layer / "upper").mkdir()
        (layer / "work").mkdir()
        below = f"lowerdir={directory},upperdir={layer}/upper,workdir={layer}/work"
        _mount("-t", "overlay", "overlay", "-o", below, str(directory))


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    elif source.exists():
        shutil.copy(source, target)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)
