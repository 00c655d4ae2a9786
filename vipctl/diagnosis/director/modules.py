"""Modules of the kernel that services need beside IPVS, and whether they come back at a boot."""

import os
from collections.abc import Iterator

from vipctl import files
from vipctl.diagnosis.director import machine
from vipctl.diagnosis.director.site import Site
from vipctl.diagnosis.steps import Step, ill, unknown, well
from vipctl.linux import devices, sysctl
from vipctl.services.naming import naturally
from vipctl.services.service import Service
from vipctl.services.values import Forward

SHIM = "vip_shim"
AT_BOOT = f"echo {SHIM} > /etc/modules-load.d/{SHIM}.conf"
MODULES = "/lib/modules"
BRIDGED = ("net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables")
FTP, FTP_PORT = "/sys/module/ip_vs_ftp", 21


def shim(site: Site) -> Iterator[Step]:
    """The kernel does not load it by itself, and a new kernel needs one of its own."""
    name, evidence = "vip_shim", "cat /etc/modules-load.d/*.conf"
    if "shim" not in site.methods:
        return
    if site.machine.own and site.machine.systemd:
        if machine.loads(SHIM):
            yield well(name, "the module vip_shim is loaded at boot", evidence)
        else:
            says = "the module vip_shim is not loaded at boot: its VIPs will not be accepted then"
            yield ill(name, "shim-not-at-boot", says, AT_BOOT, evidence)
    yield from _not_built(name)


def _not_built(name: str) -> Iterator[Step]:
    """For kernels newer than the one that runs, as one of them is booted next."""
    running = naturally(os.uname().release)
    known = {path.split("/")[-2]: path for path in machine.below(MODULES, "modules.dep")}
    newer = sorted((one for one in known if naturally(one) > running), key=naturally)
    lacking = [one for one in newer if f"/{SHIM}.ko" not in files.text(known[one])]
    if lacking:
        says = f"the module vip_shim is not built for {lacking[-1]}, which may be booted next"
        fix = f"apt install linux-headers-{lacking[-1]} && dkms autoinstall -k {lacking[-1]}"
        yield ill(name, "shim-not-built", says, fix, f"grep {SHIM} {known[lacking[-1]]}")


def bridges(site: Site) -> Iterator[Step]:
    """A bridge gives packets of its ports a route, and the module leaves them alone."""
    name = "bridges"
    found = devices.of_kind("bridge") if "shim" in site.methods else []
    if not found:
        return
    for key in BRIDGED:
        if sysctl.read(key) == "1":
            says = f"VIPs are not accepted by shim from ports of {found[0]} while {key} is 1"
            yield ill(name, "bridge-netfilter", says, f"sysctl -w {key}=0", f"sysctl {key}")
            return
    yield well(name, f"packets from ports of {found[0]} are accepted", f"sysctl {BRIDGED[0]}")


def ftp(site: Site) -> Iterator[Step]:
    """Addresses that FTP names are changed by a module, where connections are tracked."""
    name = "ftp"
    served = [service for service in site.services if _serves_ftp(service)]
    if not served:
        return
    if not files.exists(FTP):
        says = f"service {served[0].name!r} has port 21, and ip_vs_ftp is not loaded"
        fix = "modprobe ip_vs_ftp && echo ip_vs_ftp > /etc/modules-load.d/ip_vs_ftp.conf"
        yield ill(name, "ftp-module", says, fix, f"ls {FTP}")
    elif sysctl.read(sysctl.TRACKED) == "0":
        says = "whether the kernel tracks connections, which FTP needs, is not known: it has none"
        yield unknown(name, says, f"sysctl {sysctl.TRACKED}")
    else:
        yield well(name, "ip_vs_ftp is loaded", f"ls {FTP}")


def _serves_ftp(service: Service) -> bool:
    by_nat = service.balanced and Forward.NAT in service.forwards()
    return by_nat and any((p.protocol, p.number) == ("tcp", FTP_PORT) for p in service.ports)
