"""Whether KVM runs guests here: a device node alone does not tell."""

import subprocess
import tempfile
from functools import cache
from pathlib import Path

PORT = 0xF4  # of QEMU's isa-debug-exit
SAID = 0x10
EXITED = SAID << 1 | 1  # QEMU's exit status when that is written to the port
# mov al, SAID; out PORT, al; hlt: the whole program of a boot sector
PROGRAM = bytes([0xB0, SAID, 0xE6, PORT, 0xF4])
SIGNATURE = b"\x55\xaa"
SECTOR = 512
PATIENCE = 4.0  # seconds; a tenth of one is enough, and where KVM itself is emulated it takes ten


@cache
def works() -> bool:
    """Boot a sector that ends at once, and tell whether it did."""
    if not Path("/dev/kvm").exists():
        return False
    with tempfile.NamedTemporaryFile(prefix="vipctl-kvm-") as disk:
        disk.write(PROGRAM.ljust(SECTOR - len(SIGNATURE), b"\0") + SIGNATURE)
        disk.flush()
        return boots(Path(disk.name), "kvm")


def boots(disk: Path, accelerator: str) -> bool:
    """Tell whether QEMU runs the boot sector on `disk` to its end, with the processor of guests.

    An emulated KVM may run a simple processor, if slowly, and not know the registers of this one.
    """
    argv = ["qemu-system-x86_64", "-accel", accelerator, "-cpu", "max"]
    argv += ["-nodefaults", "-display", "none"]
    argv += ["-m", "32", "-device", f"isa-debug-exit,iobase={PORT:#x},iosize=1"]
    argv += ["-drive", f"file={disk},format=raw,if=ide,snapshot=on"]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == EXITED
