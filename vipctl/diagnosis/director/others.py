"""Settings of other daemons, with which they take away what makes the director accept."""

import re
from collections.abc import Iterator

from vipctl.diagnosis.director import machine
from vipctl.diagnosis.director.site import Site
from vipctl.diagnosis.steps import Step, ill, well

NFTABLES = "/etc/nftables.conf"
FLUSH = re.compile(r"^\s*flush\s+ruleset\b", re.MULTILINE)
RESTORED_BEHIND = "systemctl enable vipctl-restore.service"
FOREIGN = ("ManageForeignRoutingPolicyRules", "ManageForeignRoutes")
NETWORKD_FIX = (
    "cp examples/systemd/networkd.conf.d-vipctl.conf /etc/systemd/networkd.conf.d/vipctl.conf && "
    "systemctl restart systemd-networkd"
)


def networkd(site: Site) -> Iterator[Step]:
    """It takes rules and routes that are not its own for leftovers."""
    name, acts = (
        "systemd-networkd",
        site.machine.acts("systemd-networkd", "systemd-networkd.service"),
    )
    if not (acts and site.routed):
        return
    evidence = "systemd-analyze cat-config systemd/networkd.conf"
    said = {key: machine.setting("networkd.conf", "Network", key) for key in FOREIGN}
    kept = [key for key, value in said.items() if (value or "yes").lower() in machine.TRUE]
    if not kept:
        yield well(name, f"{name} {acts}, and leaves rules and routes of others alone", evidence)
        return
    says = f"{name} {acts}, and may remove vipctl's rules and routes: {' and '.join(kept)} not no"
    yield ill(name, "networkd-foreign", says, NETWORKD_FIX, evidence)


def nftables(site: Site) -> Iterator[Step]:
    """A ruleset that is flushed takes vipctl's tables along, whenever the service starts again."""
    name, unit = "nftables", "nftables.service"
    if not (site.by_nftables and site.machine.own and site.machine.starts(unit)):
        return
    if not FLUSH.search(machine.read(NFTABLES)):
        yield well(name, f"{NFTABLES} does not flush the ruleset", f"cat {NFTABLES}")
        return
    says = f"{NFTABLES} flushes the ruleset, vipctl's tables too"
    yield _repaired(site, name, "nftables-flush", unit, says, f"grep -n flush {NFTABLES}")


def _repaired(site: Site, name: str, cause: str, unit: str, says: str, evidence: str) -> Step:
    """What a unit takes away when it starts is put back by one that follows it, or by the daemon.

    Where nothing restores VIPs at boot either, that is told by itself.
    """
    if "vipctl-restore.service" in site.machine.wants and (
        unit.removesuffix(".service") in _followed(site)
    ):
        return well(name, f"{says}; vipctl-restore.service restores them behind it", evidence)
    if site.machine.watches:
        return well(name, f"{says}; vipctl watch puts them back", evidence)
    says += f" whenever {unit} starts again, and nothing puts them back then"
    return ill(name, cause, says, RESTORED_BEHIND, evidence)


def _followed(site: Site) -> set[str]:
    by = site.machine.wants.get("vipctl-restore.service", ())
    return {name.removesuffix(".service") for name in by}
