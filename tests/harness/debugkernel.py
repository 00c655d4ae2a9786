"""A kernel that checks itself (KASAN, lockdep, kmemleak, ...): built into the cache, not installed.

It is Debian's source with the configuration in debug.config. `make debug-kernel` builds it, which
takes half an hour on two processors; interrupted, it goes on where it was.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from tests.harness.archive import KernelError, cache_directory, call
from tests.harness.cleanup import terminate_like_interrupt
from tests.harness.kernels import Kernel, locked, scratch, unpack, unpacked

PACKAGE = "linux-source-6.12"
CONFIG = Path(__file__).with_name("debug.config")
BUILT_WITH = CONFIG.name  # a copy of it, in a kernel that was built with it
BUILD_TREE = "build"
# A guest needs this on the kernel's command line: without CONFIG_BLOCK there is no default root.
KERNEL_OPTIONS = "root=/dev/root"
QUIET = 30.0  # seconds between two lines about a build that goes on
LOG_TAIL = 15
_STARTED = time.monotonic()


def debug_kernel() -> Kernel:
    """Return the debug kernel from the cache, which must have been built before."""
    if not _is_built():
        raise KernelError("no debug kernel for this debug.config in the cache: make debug-kernel")
    return replace(unpacked(_home()), options=KERNEL_OPTIONS)


def build_tree() -> Path:
    """Return what is left of the kernel's build tree: the KDIR of modules for it."""
    debug_kernel()
    return _home() / BUILD_TREE


def build() -> Kernel:
    """Return the debug kernel from the cache, building it if there is none."""
    with locked(cache_directory() / "debug.lock"):
        if not _is_built():
            _build(cache_directory() / "debug.unfinished")
    return debug_kernel()


def _home() -> Path:
    return cache_directory() / "debug"


def _is_built() -> bool:
    stamp = _home() / BUILT_WITH
    return stamp.exists() and stamp.read_text() == CONFIG.read_text()


def _build(work: Path) -> None:
    if not work.exists():
        _say("downloading and unpacking its source, about 150 MB")
        _unpack_source(work)
    _configure(work)
    _compile(work)
    _say("collecting what is needed of it")
    with scratch(work.parent) as tree:
        _collect(work, tree)
        shutil.rmtree(_home(), ignore_errors=True)
        tree.rename(_home())
    shutil.rmtree(work)
    _say(f"{unpacked(_home()).release} is in {_home()}")


def _unpack_source(work: Path) -> None:
    with scratch(work.parent) as tree:
        unpack(lambda: [PACKAGE], tree)
        call(["tar", "-xf", str(tree / "usr" / "src" / f"{PACKAGE}.tar.xz")], cwd=tree)
        (tree / PACKAGE).rename(work)


def _configure(work: Path) -> None:
    _make(work, f"KCONFIG_ALLCONFIG={CONFIG}", "allnoconfig")
    wanted, has = _options(CONFIG), _options(work / ".config")
    wrong = [f"{name}={value}" for name, value in wanted.items() if has.get(name, "n") != value]
    if wrong:
        raise KernelError(f"debug.config asks for what the kernel does not do: {' '.join(wrong)}")


def _options(config: Path) -> dict[str, str]:
    """Return the options that a configuration sets, and those that it says are not set."""
    text = config.read_text()
    unset = re.findall(r"^# (CONFIG_\w+) is not set$", text, re.MULTILINE)
    return {**dict.fromkeys(unset, "n"), **dict(re.findall(r"^(CONFIG_\w+)=(.*)$", text, re.M))}


def _compile(work: Path) -> None:
    log = work / "build.log"
    argv = ["make", f"-j{os.cpu_count()}", "all"]
    _say(f"compiling; what it prints is in {log}")
    with (
        log.open("w", buffering=1) as copy,
        subprocess.Popen(
            argv, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        _follow(process, copy)
    if process.returncode:
        tail = "\n".join(log.read_text().splitlines()[-LOG_TAIL:])
        raise KernelError(f"{' '.join(argv)} failed; the end of {log}:\n{tail}")


def _follow(process: subprocess.Popen[str], log: TextIO) -> None:
    """Keep what it prints, and pass on a line now and then; if we are interrupted, so is it."""
    due = time.monotonic() + QUIET
    try:
        for number, line in enumerate(process.stdout or (), 1):
            log.write(line)
            if time.monotonic() >= due:
                _say(f"{number:5} steps, now {line.strip()}")
                due += QUIET
    except BaseException:
        process.terminate()
        raise


def _collect(work: Path, tree: Path) -> None:
    """Make a tree as Debian's packages of a kernel would, and one to build modules in."""
    release = (work / "include" / "config" / "kernel.release").read_text().strip()
    (tree / "boot").mkdir(parents=True)
    for file, name in (("arch/x86/boot/bzImage", "vmlinuz"), ("System.map", "System.map")):
        shutil.copy(work / file, tree / "boot" / f"{name}-{release}")
    _make(work, f"INSTALL_MOD_PATH={tree}", "modules_install")
    _collect_build_tree(work, tree / BUILD_TREE)
    link = tree / "lib" / "modules" / release / "build"
    link.unlink(missing_ok=True)
    link.symlink_to(Path("..", "..", "..", BUILD_TREE))
    shutil.copy(CONFIG, tree / BUILT_WITH)


def _collect_build_tree(work: Path, to: Path) -> None:
    """Copy what the kernel's own packages for building modules have."""
    script = f"$(srctree)/scripts/package/install-extmod-build {to}"
    _make(work, "run-command", f"KBUILD_RUN_COMMAND={script}")
    shutil.copy(work / ".config", to)


def _make(work: Path, *words: str) -> None:
    call(["make", *words], cwd=work)


def _say(what: str) -> None:
    minutes, seconds = divmod(int(time.monotonic() - _STARTED), 60)
    print(f"debug kernel: {minutes:2}:{seconds:02} {what}", flush=True)


def main() -> int:
    """Build the debug kernel if the cache has none; print where it is."""
    terminate_like_interrupt()
    try:
        print(build().vmlinuz)
    except KernelError as error:
        print(f"debug kernel: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
