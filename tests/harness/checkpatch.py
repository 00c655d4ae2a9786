"""The kernel's own style checker: cut out of Debian's kernel source, into the cache."""

import subprocess
from pathlib import Path

from tests.harness.archive import cache_directory, call
from tests.harness.kernels import locked, scratch, unpack

PACKAGE = "linux-source-6.12"  # no smaller package has it
SCRIPT = "checkpatch.pl"
FILES = (SCRIPT, "spelling.txt", "const_structs.checkpatch")


def checkpatch(where: Path, *files: str) -> str:
    """Return all that it has to say about files below `where`: nothing, if they are good.

    What it says depends on the files' names: below include/uapi it asks for other things.
    """
    options = ("--no-tree", "--strict", "--no-summary", "--terse", "--show-types", "--file")
    argv = ["perl", str(_script()), *options, *files]
    done = subprocess.run(argv, cwd=where, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr + (f"exit status {done.returncode}" if done.returncode else "")


def _script() -> Path:
    home = cache_directory() / "checkpatch"
    with locked(home.with_suffix(".lock")):
        if not home.exists():
            _install(home)
    return home / SCRIPT


def _install(home: Path) -> None:
    with scratch(home.parent) as tree:
        print("checkpatch: downloading the source of Linux for it, about 150 MB", flush=True)
        unpack(lambda: [PACKAGE], tree)
        source = tree / "usr" / "src" / f"{PACKAGE}.tar.xz"
        members = [f"{PACKAGE}/scripts/{name}" for name in FILES]
        call(["tar", "--occurrence=1", "-xf", str(source), *members], cwd=tree)
        (tree / PACKAGE / "scripts").rename(home)
