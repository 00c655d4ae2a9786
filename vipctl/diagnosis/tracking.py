"""Whether connection tracking has room for one more."""

from collections.abc import Iterator

from vipctl.diagnosis.case import Case
from vipctl.diagnosis.steps import Step, ill, well
from vipctl.linux import sysctl

NAME = "conntrack"
MOST = "net.netfilter.nf_conntrack_max"
EVIDENCE = f"sysctl {sysctl.TRACKED} {MOST}"


def steps(_case: Case) -> Iterator[Step]:
    """Nothing where connections are not tracked; a limit of 0 is none."""
    tracked, most = used()
    if not (tracked and most):
        return
    says = f"{tracked:,} of {most:,} connections are tracked"
    if tracked < most:
        yield well(NAME, says, EVIDENCE)
    else:
        fix = f"sysctl -w {MOST}={2 * most}"
        yield ill(NAME, "conntrack-full", f"{says}: the kernel drops new ones", fix, EVIDENCE)


def used() -> tuple[int, int]:
    """How many connections are tracked, and how many may be."""
    tracked, most = (int(sysctl.read(name) or 0) for name in (sysctl.TRACKED, MOST))
    return tracked, most
