"""What of vipctl itself is installed, and whether it runs as it should."""

from collections.abc import Iterator

from vipctl.diagnosis.director import machine
from vipctl.diagnosis.director.machine import Machine
from vipctl.diagnosis.director.site import Site
from vipctl.diagnosis.steps import Step, ill, unknown, well

RESTORE_UNIT = "vipctl-restore.service"
ENABLE = (
    f"cp examples/systemd/{RESTORE_UNIT} /etc/systemd/system/ && systemctl enable {RESTORE_UNIT}"
)


def boot(site: Site) -> Iterator[Step]:
    """Whether VIPs come back after a boot."""
    name, evidence = "boot", f"systemctl is-enabled {RESTORE_UNIT}"
    if not (site.services and site.machine.own):
        return
    if not site.machine.systemd:
        yield unknown(name, "without systemd: whether vipctl restore runs at boot is not known")
        return
    unit = _restoring(site.machine)
    if unit:
        yield well(name, f"{unit} restores VIPs at boot", evidence)
        return
    says = "no unit runs `vipctl restore` at boot: VIPs will be gone then"
    yield ill(name, "restore-not-at-boot", says, ENABLE, evidence)


def _restoring(found: Machine) -> str | None:
    """A unit that starts at boot and restores, under whichever name."""
    if machine.unit_text(RESTORE_UNIT) and any(
        found.starts(unit) for unit in (RESTORE_UNIT, "vipctl.service")
    ):
        return RESTORE_UNIT
    for unit in found.starting("*.service"):
        text = machine.unit_text(unit)
        if any("vipctl" in line and " restore" in line for line in text.splitlines()):
            return unit
    return None
