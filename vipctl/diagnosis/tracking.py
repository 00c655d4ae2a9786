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
    used, most = (int(sysctl.read(name) or 0) for name in (sysctl.TRACKED, MOST))
    if not (used and most):
        return
    says = f"{used:,} of {most:,} connections are tracked"
    if used < most:
        yield well(NAME, says, EVIDENCE)
    else:
        fix = f"sysctl -w {MOST}={2 * most}"
        yield ill(NAME, "conntrack-full", f"{says}: the kernel drops new ones", fix, EVIDENCE)
