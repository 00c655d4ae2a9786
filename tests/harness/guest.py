"""Run a command under one of Debian's kernels, in a QEMU guest that sees this machine's files.

The guest's root is this machine's, copy-on-write: what the command writes vanishes with the guest,
except for files in `SHARED`.
"""

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Timer

from tests.harness import kvm
from tests.harness.archive import KernelError
from tests.harness.cleanup import terminate_like_interrupt
from tests.harness.kernels import Kernel, kernel
from tests.harness.module import prepared
from tests.harness.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path("/run/vipctl-guest")
TIME_LIMIT = 60 * 60.0
CONSOLE_TAIL = 100
NO_STATUS = 255  # what stands for an exit status that did not arrive
TIMED_OUT = 124
STATUS = "status"  # inside.sh leaves the command's exit status there, in SHARED
# What a guest's boot needs of the host, by the path of a program, and the package that has it.
NEEDED = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "file": "file",
    "kmod": "kmod",
    "/lib/systemd/systemd-udevd": "udev",
}
COMMAND_STARTS = "vipctl-guest: the command starts"  # inside.sh says so on the console

# Drivers of emulated hardware that no test needs: udev would spend half of the boot loading them.
UNUSED_DRIVERS = (
    "acpi_cpufreq,aesni_intel,ahci,button,crc32_pclmul,crc32c_intel,crct10dif_pclmul,evdev,"
    "ghash_clmulni_intel,i2c_i801,i6300esb,iTCO_wdt,intel_rapl_msr,joydev,kvm_amd,kvm_intel,"
    "libata,lpc_ich,pcspkr,polyval_clmulni,powernow_k8,psmouse,qemu_fw_cfg,serio_raw,sg,"
    "sha1_ssse3,sha256_ssse3,sha512_ssse3,sr_mod"
)
KERNEL_OPTIONS = (
    "mitigations=off nokaslr cryptomgr.notests audit=0 no_timer_check oops=panic loglevel=5 "
    "norandmaps "  # TCG translates a program once where that is always at the same addresses
    "slab_nomerge "  # /proc/slabinfo counts the module's objects, rmmod complains of those left
    f"modprobe.blacklist={UNUSED_DRIVERS}"
)
# What makes TCG slow: a fifth level of page tables, checks at each copy from and to programs, and
# copies that the kernel leaves to one instruction, which is emulated byte by byte.
FAST_CPU = "-cpu max,-la57,-smap,-smep,-erms,-fsrm"
ICOUNT = "-icount"  # the option of QEMU that counts instructions
CACHED_HOST = (  # inside.sh mounts it
    "-fsdev local,id=host,path=/,security_model=none,readonly=on,multidevs=remap "
    "-device virtio-9p-pci,fsdev=host,mount_tag=host"
)

Emit = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Guest:
    """A booting or running guest; `shared` is the host's side of `SHARED`."""

    process: subprocess.Popen[str]
    console: Path
    shared: Path

    def kill(self) -> None:
        """End vng, QEMU and whatever else was started for this guest."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def is_gone(self) -> bool:
        """Tell whether nothing of this guest runs any more."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def follow(self, emit: Emit, limit: float) -> int:
        """Pass on what the guest prints until it ends; return the command's exit status.

        That is TIMED_OUT where the limit, in seconds, was reached, and NO_STATUS where none came.
        """
        timer = Timer(limit, self.kill)
        timer.daemon = True
        timer.start()
        try:
            for line in self.process.stdout or ():
                emit(line)
            if self.process.wait() == -signal.SIGKILL:
                return TIMED_OUT
            return self._status()
        finally:
            timer.cancel()

    def _status(self) -> int:
        with suppress(OSError, ValueError):
            return int((self.shared / STATUS).read_text())
        return NO_STATUS

    def explain(self, status: int, emit: Emit) -> int:
        """Say why a guest ended badly and show its console; return an exit status."""
        if status:
            emit(f"guest: {self._reason(status)}; its console:\n")
            for line in self._complaints()[-CONSOLE_TAIL:]:
                emit(f"  {line}\n")
        return status

    def _reason(self, status: int) -> str:
        if status == TIMED_OUT:
            return "the time limit was reached"
        if status != NO_STATUS or (self.shared / STATUS).exists():
            return f"the command ended with exit status {status}"
        if COMMAND_STARTS in self.console.read_text(errors="replace"):
            return "it stopped before the command ended: the kernel crashed, or was out of memory"
        return (
            "it stopped before the command began. Without udev it has no virtio ports, by which "
            "vng speaks to it: see whether the package is installed"
        )

    def _complaints(self) -> list[str]:
        """Return the console from the command's start on, or all of it if the boot failed."""
        text = self.console.read_text(errors="replace")
        return text.rpartition(COMMAND_STARTS)[2].strip().splitlines()


@contextmanager
def boot(
    system: Kernel, argv: Sequence[str], memory: str, machine: str = "", cpus: int = 1
) -> Iterator[Guest]:
    """Start a guest that runs `argv` in the repository; leave no process and no file behind.

    `machine` is further options for QEMU. KVM is used where it works, unless instructions are to be
    counted, which only TCG can. There, several processors take turns: with multi-threaded TCG a
    6.12 guest panics in code that patches itself.
    """
    check_host()
    accelerated = ICOUNT not in machine and kvm.works()
    hardware = ["--cpus", str(cpus), "--memory", memory]
    hardware += [] if accelerated else ["--disable-kvm"]
    machine += "" if accelerated or ICOUNT in machine else f" {FAST_CPU}"
    machine += " -accel tcg,thread=single" if cpus > 1 and not accelerated else ""
    with tempfile.TemporaryDirectory(prefix="vipctl-guest-") as name:
        scratch = Path(name)
        shared = scratch / "shared"
        shared.mkdir()
        (shared / "command").write_text("\0".join(argv))
        words = _vng(system, hardware, machine, shared)
        guest = Guest(_start(words, scratch), scratch / "console", shared)
        try:
            yield guest
        finally:
            guest.kill()
            guest.process.wait()
            wait_until(guest.is_gone, "QEMU has ended")


def _start(argv: list[str], scratch: Path) -> subprocess.Popen[str]:
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    with (scratch / "console").open("wb") as console:
        return subprocess.Popen(
            argv,
            cwd=REPOSITORY,
            env={**os.environ, "PATH": path, "TMPDIR": str(scratch)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=console,
            text=True,
            errors="replace",
            start_new_session=True,
        )


def _vng(system: Kernel, hardware: list[str], machine: str, shared: Path) -> list[str]:
    files = ["--force-9p", "--rwdir", f"{SHARED}={shared}"]
    kernel_options = ["--verbose", "--run", str(system.vmlinuz)]
    kernel_options += ["--append", f"{KERNEL_OPTIONS} {system.options}".strip()]
    inside = ["--", "bash", "tests/harness/inside.sh", str(SHARED / "command")]
    files += [f"--qemu-opts={CACHED_HOST} {machine}"]
    return ["vng", *hardware, *files, *kernel_options, *inside]


def check_host() -> None:
    """Raise KernelError if no guest can be booted on this machine, with what to do."""
    if platform.machine() != "x86_64":
        raise KernelError(
            f"guests are Debian's amd64 kernels, and this machine is {platform.machine()}. "
            "Where the running kernel has IPVS (modprobe ip_vs), make demo needs no guest"
        )
    absent = [package for program, package in NEEDED.items() if not shutil.which(program)]
    if absent:
        raise KernelError(f"no guest boots without: apt install {' '.join(absent)}")


def has_ipvs() -> bool:
    """Tell whether the running kernel has IPVS, loading it if it is a module."""
    if Path("/proc/net/ip_vs").exists():
        return True
    load = ["modprobe", "--quiet", "ip_vs"]
    return subprocess.run(load, capture_output=True, check=False).returncode == 0


def _emit(line: str) -> None:
    print(line, end="", flush=True)


def natively(argv: Sequence[str], loaded: Collection[str]) -> int:
    """Run a command under the running kernel; unload what of IPVS was not `loaded` before."""
    try:
        return subprocess.run(argv, cwd=REPOSITORY, check=False).returncode
    finally:
        for module in ipvs_modules():
            if module not in loaded:
                subprocess.run(["modprobe", "-q", "-r", module], capture_output=True, check=False)


def ipvs_modules() -> list[str]:
    """Return IPVS's loaded modules, the last one loaded first."""
    known = Path("/proc/modules")  # absent where the kernel loads none
    lines = known.read_text().splitlines() if known.exists() else []
    names = [line.split()[0] for line in lines]
    return [name for name in names if name.startswith("ip_vs")]


def _run(options: argparse.Namespace) -> int:
    loaded = set(ipvs_modules())
    if options.if_needed and has_ipvs():
        return natively(options.argv, loaded)
    check_host()
    system = kernel(options.kernel) if options.no_module else prepared(options.kernel)
    system = replace(system, options=f"{system.options} {options.append}")
    print(f"guest: booting {system.release} (10 to 30 seconds)", flush=True)
    with boot(system, options.argv, options.memory, cpus=options.cpus) as guest:
        return guest.explain(guest.follow(_emit, options.timeout), _emit)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.harness.guest", description=__doc__)
    kernels = "6.1, 6.12, debug, or a release such as 7.3.4+deb13-amd64"
    parser.add_argument("--kernel", required=True, metavar="KERNEL", help=kernels)
    parser.add_argument("--if-needed", action="store_true", help="no guest if this kernel has IPVS")
    parser.add_argument("--no-module", action="store_true", help="build no kernel module for it")
    parser.add_argument("--append", default="", metavar="OPTIONS", help="for the kernel")
    parser.add_argument("--memory", default="1G")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=TIME_LIMIT, metavar="SECONDS")
    parser.add_argument("argv", nargs="+", metavar="COMMAND", help="after --")
    return parser.parse_args()


def main() -> int:
    """Run the command that the command line names."""
    terminate_like_interrupt()
    try:
        return _run(_options())
    except KernelError as error:
        print(f"guest: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
