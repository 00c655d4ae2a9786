"""Settings of other daemons, with which they take away what makes the director accept."""

import re
from collections.abc import Iterator

from vipctl.diagnosis.director import machine
from vipctl.diagnosis.director.site import Site
from vipctl.diagnosis.steps import Step, ill, well

NFTABLES = "/etc/nftables.conf"
FLUSH = re.compile(r"^\s*flush\s+ruleset\b", re.MULTILINE)
RESTORED_BEHIND = "systemctl enable vipctl-restore.service"
IPVSADM, AUTO = "/etc/default/ipvsadm", re.compile(r"""^AUTO=["']?(\w*)""", re.MULTILINE)
PROFILES = tuple(
    f"{where}/NetworkManager/system-connections" for where in ("/etc", "/run", "/usr/lib")
)
OF_LO = {"type": "loopback", "interface-name": "lo"}
WIREGUARD = "/etc/wireguard"
EVERYTHING = re.compile(r"^\s*AllowedIPs\s*=.*(?<![0-9a-f:])(?:0\.0\.0\.0|::)/0", re.I | re.M)
TABLE = re.compile(r"^\s*Table\s*=\s*(\w+)", re.I | re.M)
FIREWALLD, BACKEND = "/etc/firewalld/firewalld.conf", re.compile(r"^FirewallBackend=(\w+)", re.M)
RULES, MANGLE = ("/etc/iptables/rules.v4", "/etc/iptables/rules.v6"), re.compile(r"^\*mangle", re.M)
TOOL, LEGACY = "iptables-restore", "xtables-legacy-multi"  # what it is, by update-alternatives(1)
FOREIGN = ("ManageForeignRoutingPolicyRules", "ManageForeignRoutes")
NETWORKD_FIX = (
    "cp examples/systemd/networkd.conf.d-vipctl.conf /etc/systemd/networkd.conf.d/vipctl.conf && "
    "systemctl restart systemd-networkd"
)


def networkd(site: Site) -> Iterator[Step]:
    """It takes rules and routes that are not its own for leftovers."""
    name = "systemd-networkd"
    acts = site.machine.acts(name, f"{name}.service")
    if not (acts and site.routed):
        return
    evidence = "systemd-analyze cat-config systemd/networkd.conf"
    said = {key: machine.setting("networkd.conf", "Network", key) for key in FOREIGN}
    kept = [key for key, value in said.items() if (value or "yes").lower() in machine.TRUE]
    if not kept:
        yield well(name, f"{name} {acts}, and leaves rules and routes of others alone", evidence)
        return
    unset = " and ".join(f"{key}=no" for key in kept)
    says = f"{name} {acts}, and may remove vipctl's rules and routes: {unset} not set"
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


def ipvsadm(site: Site) -> Iterator[Step]:
    """Its service clears IPVS when it starts and when it stops."""
    name, unit = "ipvsadm", "ipvsadm.service"
    if not (site.balanced and site.machine.own and site.machine.starts(unit)):
        return
    said = AUTO.findall(machine.read(IPVSADM))
    if said[-1:] != ["true"]:
        yield well(name, f"{unit} leaves IPVS alone", f"cat {IPVSADM}")
        return
    says = f"{unit} clears IPVS (AUTO in {IPVSADM} is true)"
    yield _repaired(site, name, "ipvsadm-clears", unit, says, f"grep AUTO {IPVSADM}")


def network_manager(site: Site) -> Iterator[Step]:
    """With a profile for lo, it takes IPv6 routes of others there for leftovers."""
    name, unit = "NetworkManager", "NetworkManager.service"
    acts = site.machine.acts(name, unit)
    if not (acts and 6 in site.versions and site.tabled):
        return
    profiles = [path for where in PROFILES for path in machine.named(where, ".nmconnection")]
    of_lo = [path for path in profiles if _is_of_lo(machine.read(path))]
    if not of_lo:
        yield well(name, f"{name} {acts}, and has no profile for lo", "nmcli connection show")
        return
    says = f"{name} {acts}, and takes vipctl's IPv6 route away for {of_lo[0]}"
    yield _repaired(site, name, "network-manager-lo", unit, says, f"cat {of_lo[0]}")


def _is_of_lo(profile: str) -> bool:
    said = {key: list(machine.values(profile, "connection", key)) for key in OF_LO}
    return any(OF_LO[key] in values for key, values in said.items())


def wireguard(site: Site) -> Iterator[Step]:
    """A tunnel for everything gets rules that come before vipctl's, as it starts later at boot."""
    for unit in site.machine.starting("wg-quick@*.service"):
        device = unit.removeprefix("wg-quick@").removesuffix(".service")
        path = f"{WIREGUARD}/{device}.conf"
        text = machine.read(path)
        table = [found.lower() for found in TABLE.findall(text)]
        if not (site.tabled and EVERYTHING.search(text)) or table[-1:] not in ([], ["auto"]):
            continue
        says = f"{unit} leads everything into {device}, by rules before vipctl's: VIPs too"
        fix = f"in {path}: Table = off, and PostUp with rules of a priority behind 4399"
        evidence = f"grep -E 'AllowedIPs|Table' {path}"
        yield ill("wg-quick", "wg-quick-before-ours", says, fix, evidence)


def legacy(site: Site) -> Iterator[Step]:
    """Who replaces whole tables of legacy iptables takes vipctl's chains along."""
    if "fwmark-iptables" not in site.methods or machine.program(TOOL) != LEGACY:
        return
    for unit, evidence, says in _replacing(site):
        yield _repaired(site, "legacy iptables", "iptables-replaced", unit, says, evidence)


def _replacing(site: Site) -> Iterator[tuple[str, str, str]]:
    unit = "firewalld.service"
    backend = [found.lower() for found in BACKEND.findall(machine.read(FIREWALLD))]
    if site.machine.acts("firewalld", unit) and backend[-1:] == ["iptables"]:
        yield unit, f"grep FirewallBackend {FIREWALLD}", "firewalld flushes all of legacy iptables"
    unit = "netfilter-persistent.service"
    for path in RULES if site.machine.own and site.machine.starts(unit) else ():
        if MANGLE.search(machine.read(path)):
            yield unit, f"grep mangle {path}", f"{path} replaces the table mangle of iptables"
            return


def _repaired(site: Site, name: str, cause: str, unit: str, says: str, evidence: str) -> Step:
    """What a unit takes away when it starts is put back by one that follows it, or by the daemon.

    Where nothing restores VIPs at boot either, that is told by itself.
    """
    if unit in site.machine.wants.get("vipctl-restore.service", ()):
        return well(name, f"{says}; vipctl-restore.service restores them behind it", evidence)
    if site.machine.watches:
        return well(name, f"{says}; vipctl watch puts them back", evidence)
    says += f" whenever {unit} starts again, and nothing puts them back then"
    return ill(name, cause, says, RESTORED_BEHIND, evidence)
