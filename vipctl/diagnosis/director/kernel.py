"""The kernel: its settings, and what it has of the stored state."""

from collections.abc import Iterator

from vipctl.diagnosis.director.site import Site
from vipctl.diagnosis.steps import Step, ill, well
from vipctl.linux import sysctl


def sysctls(site: Site) -> Iterator[Step]:
    """What services need together; where that is not so, the service that it is for is named."""
    name = "sysctls"
    needed = sysctl.needed(site.services)
    missed = sysctl.missed(needed, site.services)
    if needed and not missed:
        yield well(name, "they are as services need them", "vipctl status")
    for key, value in missed.items():
        of = next(s for s in site.services if key in sysctl.needed([s]))
        says = f"{key} is {sysctl.read(key)}, and service {of.name!r} needs {value}"
        yield ill(
            name, "sysctl", says, f"vipctl set-service {of.name} --set-sysctls", f"sysctl {key}"
        )
