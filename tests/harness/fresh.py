"""`make fresh`: the README's commands on new machines, where nothing was installed by hand.

Such a machine is a minimal root of a Debian release, with what a clone needs to be made, in
namespaces of its own for mounts and processes. It shares this machine's kernel and network.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TextIO

from tests.harness.archive import KernelError, cache_directory, call
from tests.harness.buildroot import UNSHARE, bootstrap
from tests.harness.cleanup import terminate_like_interrupt

REPOSITORY = Path(__file__).resolve().parents[2]
LOGS = REPOSITORY / "build" / "fresh"
RELEASES = ("bookworm", "trixie")
PACKAGES = ("ca-certificates", "make", "git", "python3")
TARGETS = ("demo", "test-fresh")
LIMIT = 30 * 60.0  # seconds for one of these
LONGER = 2 * 3600.0  # for another
CLONE = Path("/root/vipctl")  # a home directory is where people put it
AUTHORITIES = Path("/usr/local/share/ca-certificates")  # of this machine, as a new one gets them
PROXIES = ("http_proxy", "https_proxy", "no_proxy")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INTERVAL = 60.0  # seconds between two lines of a command that goes on
TAIL = 60
PROCESSES = ("ps", "-e", "--forest", "-o", "pid,etimes,wchan:24,args")
TIMED_OUT = 124  # as timeout(1) has it

# `ip netns exec` needs a root that is a mount point; in one that was reached by chroot the kernel
# allows nobody a user namespace, and files of another mount namespace have other names.
ENTER = """
set -e
mount --bind "$0" "$0"
mount -t proc proc "$0/proc"
mount --rbind /sys "$0/sys"
mount --rbind /dev "$0/dev"
mount -t tmpfs tmpfs "$0/run"
cd "$0"
pivot_root . .
umount -l .
cd /
exec "$@"
"""


@dataclass(slots=True)
class Machine:
    """A new machine; `seconds` are those that its commands took, by name."""

    release: str
    root: Path
    log: TextIO
    seconds: dict[str, float] = field(default_factory=dict)
    failed: str = ""

    def say(self, text: str) -> None:
        """Print a line about it."""
        print(f"{self.release:>8} | {text}", flush=True)

    def build(self) -> None:
        """Make the root, with a clone of what is committed. Raises KernelError."""
        bootstrap(self.release, PACKAGES, self.root)
        if AUTHORITIES.is_dir():
            inside = self.root / AUTHORITIES.relative_to("/")
            shutil.copytree(AUTHORITIES, inside, dirs_exist_ok=True)
            call([*UNSHARE, "sh", "-c", ENTER, str(self.root), "update-ca-certificates"])
        clone = self.root / CLONE.relative_to("/")
        call(["git", "clone", "--quiet", "--no-hardlinks", str(REPOSITORY), str(clone)])

    def make(self, target: str) -> bool:
        """Run `make TARGET` there; tell whether it ended with 0."""
        started = time.monotonic()
        self.say(f"make {target}")
        limit = LIMIT if target in TARGETS else LONGER
        status = self._run(["make", "-C", str(CLONE), target], limit)
        self.seconds[target] = time.monotonic() - started
        self.say(f"make {target}: exit status {status} after {self.seconds[target]:.0f} s")
        return status == 0

    def _run(self, argv: list[str], limit: float) -> int:
        kept = [f"{name}={os.environ[name]}" for name in PROXIES if name in os.environ]
        environment = ["env", "-i", f"PATH={PATH}", "HOME=/root", "TERM=dumb", *kept]
        entered = [*UNSHARE, "sh", "-c", ENTER, str(self.root), *environment, *argv]
        process = subprocess.Popen(
            entered, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT
        )
        try:
            return self._wait(process, time.monotonic() + limit)
        finally:
            process.kill()
            process.wait()

    def _wait(self, process: "subprocess.Popen[bytes]", end: float) -> int:
        while True:
            try:
                return process.wait(INTERVAL)
            except subprocess.TimeoutExpired:
                self.say(f"    {self.tail(1)[0][:100]}")
            if _ended.is_set():
                return process.wait(0)
            if time.monotonic() > end:
                return self._hangs()

    def _hangs(self) -> int:
        """Write into the log what runs, for somebody to find out what everything waits for."""
        self.say("not ended in time: what runs is in the log")
        subprocess.run(PROCESSES, stdout=self.log, stderr=subprocess.STDOUT, check=False)
        return TIMED_OUT

    def tail(self, count: int) -> list[str]:
        """Return the last lines of the log."""
        lines = Path(self.log.name).read_text(errors="replace").splitlines()
        return lines[-count:] or [""]


_ended = Event()  # an interrupt, for the threads that wait for machines


@contextmanager
def machine(release: str) -> Iterator[Machine]:
    """A new machine, and nothing left of it but its log."""
    LOGS.mkdir(parents=True, exist_ok=True)
    parent = cache_directory().parent
    with (
        tempfile.TemporaryDirectory(dir=parent, prefix=f"root-{release}-") as scratch,
        (LOGS / f"{release}.log").open("w") as log,
    ):
        yield Machine(release, Path(scratch) / "root", log)


def try_out(release: str, targets: Sequence[str]) -> Machine:
    """Run `make` for each target on a new machine, until one fails."""
    with machine(release) as new:
        new.say(f"building a minimal root; every line is in {LOGS.relative_to(REPOSITORY)}")
        try:
            new.build()
            new.failed = next((target for target in targets if not new.make(target)), "")
        except KernelError as error:
            new.say(str(error))
            new.failed = "the root itself"
        if new.failed:
            print("\n".join(f"{release:>8} | {line}" for line in new.tail(TAIL)), flush=True)
        return new


def summarise(machines: Sequence[Machine]) -> int:
    """Print what each came to; return 0 if all was well."""
    print()
    for new in machines:
        took = ", ".join(f"make {name} {took / 60:.1f} min" for name, took in new.seconds.items())
        print(f"{new.release:>8}  {took}{f'; FAILED: {new.failed}' if new.failed else ''}")
    failed = sum(bool(new.failed) for new in machines)
    print(f"roots: {len(machines) - failed} passed, {failed} failed")
    return 1 if failed else 0


def main() -> int:
    """Try out the releases that the command line names, at the same time."""
    terminate_like_interrupt()
    parser = argparse.ArgumentParser(prog="python3 -m tests.harness.fresh", description=__doc__)
    parser.add_argument("releases", nargs="*", default=RELEASES, metavar="RELEASE")
    parser.add_argument("--targets", nargs="+", default=TARGETS, metavar="TARGET")
    options = parser.parse_args()
    try:
        with ThreadPoolExecutor() as pool:
            try:
                found = [pool.submit(try_out, name, options.targets) for name in options.releases]
                return summarise([future.result() for future in found])
            finally:
                _ended.set()
    except KeyboardInterrupt:
        print("fresh: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
