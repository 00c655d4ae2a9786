"""What of vipctl itself is installed, and whether it runs as it should."""

import os
import sys
from collections.abc import Iterator

import vipctl
from vipctl import files
from vipctl.diagnosis.director import machine
from vipctl.diagnosis.director.machine import Machine
from vipctl.diagnosis.director.site import Site
from vipctl.diagnosis.steps import Step, ill, unknown, well
from vipctl.linux import processes
from vipctl.state import runtime

RESTORE_UNIT = "vipctl-restore.service"
ENABLE = (
    f"cp examples/systemd/{RESTORE_UNIT} /etc/systemd/system/ && systemctl enable {RESTORE_UNIT}"
)
PLACE = "/usr/local/bin/vipctl"
START = (
    "cp examples/systemd/vipctl.service /etc/systemd/system/ && "
    "systemctl enable --now vipctl.service"
)
RESTART = "systemctl try-restart vipctl.service"
MARGIN = 2.0  # seconds, as both are told in parts of a second and the clock is set


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


def units(site: Site) -> Iterator[Step]:
    """Whether what starts at boot can do its work."""
    for unit in site.machine.starting("vipctl*.service"):
        text = machine.unit_text(unit)
        commands = [c for c in machine.values(text, "Service", "ExecStart") if c]
        program = commands[-1].split()[0].lstrip("-@:+!") if commands else ""
        if program and not _found(program):
            says = f"{unit} starts {program}, which is not there"
            fix = f"ln -s /opt/vipctl/bin/vipctl {PLACE}"
            yield ill("units", "unit-program-missing", says, fix, f"systemctl cat {unit}")
        limits = " ".join(machine.values(text, "Service", "CapabilityBoundingSet"))
        if "fwmark-iptables" in site.methods and limits and "CAP_NET_RAW" not in limits:
            says = f"{unit} may not use legacy iptables, which method fwmark-iptables needs"
            yield ill(
                "units", "iptables-drop-in-missing", says, _drop_in(unit), f"systemctl cat {unit}"
            )


def _found(program: str) -> bool:
    if "/" in program:
        return files.exists(program)
    return bool(machine.program(program))


def _drop_in(unit: str) -> str:
    return (
        f"mkdir -p /etc/systemd/system/{unit}.d && cp "
        "examples/systemd/vipctl-restore.service.d-iptables.conf "
        f"/etc/systemd/system/{unit}.d/iptables.conf && systemctl daemon-reload"
    )


def watch(site: Site) -> Iterator[Step]:
    """Who asks real servers whether they work."""
    name, evidence = "watch", "vipctl status"
    watched = [service.name for service in site.services if service.watched]
    found = runtime.about(runtime.WATCH, site.state_dir)
    if found is None and watched:
        says = f"vipctl watch does not run: nobody asks the real servers of {watched[0]!r}"
        yield ill(name, "checks-not-run", says, START, evidence)
    elif found and not found["answers"]:
        yield unknown(name, "vipctl watch does not answer", evidence)
    elif found and not found["ours"]:
        says = f"vipctl watch runs for another state, {found['state_dir']}"
        fix = f"have it started with --state-dir {site.state_dir}"
        yield ill(name, "watch-of-another-state", says, fix, evidence)
    elif found and _is_outdated(int(found["pid"])):
        says = "vipctl watch runs since before vipctl was installed anew: it is still the old one"
        yield ill(name, "watch-outdated", says, RESTART, evidence)
    elif found:
        yield well(name, "vipctl watch runs", evidence)


def _is_outdated(process: int) -> bool:
    """Of another installation, or another namespace of processes, nothing is known."""
    try:
        if processes.interpreter(process) != sys.executable:
            return False
        return _installed() > processes.started(process) + MARGIN
    except OSError:
        return False


def _installed() -> float:
    """When the last file of vipctl's came, or was changed."""
    root = os.path.dirname(vipctl.__file__)
    names = (f"{at}/{name}" for at, _, names in os.walk(root) for name in names)
    return max(os.stat(name).st_ctime for name in names if name.endswith(".py"))
