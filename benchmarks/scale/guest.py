"""What needs IPVS or keepalived: measured in a guest, by `inside`."""

from benchmarks import host
from benchmarks.scale.record import Results, Served
from tests.harness.kernels import kernel


def measure(series: str) -> tuple[int, Results]:
    """Return the exit status of the guest, and what was measured."""
    status, lines = host.measure(series, "benchmarks.scale.inside", machine="")
    machine = {
        "Linux": kernel(series).release,
        "guest": "QEMU without hardware virtualization, so that seconds are many, ratios count",
    }
    return status, Results(guest=machine, served=[Served(**line) for line in lines])
